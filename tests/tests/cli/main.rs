//! The command line: every file runs the real `slpo` binary, one subject a file.

#[path = "../command/mod.rs"]
mod command;
#[path = "../shared/mod.rs"]
mod shared;

mod accounting;
mod audit;
mod bench;
mod cards;
mod chat;
mod compare;
mod data;
mod devices;
mod explain;
mod faults;
mod folders;
mod generate;
mod gradcheck;
mod gradcheck_program;
mod help;
mod hostile;
mod interrupts;
mod lora;
mod models;
mod output;
mod pages;
mod parallel;
mod remarks;
mod resume;
mod rows;
mod settings;
mod shell;
mod signals;
mod strangers;
mod study;
mod token_weights;
mod training;
mod unpaired;
mod verify;
mod verify_dumps;
mod warnings;
