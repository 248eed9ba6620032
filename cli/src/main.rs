//! slpo
#![allow(dead_code)]

mod report;
mod run_folder;

fn main() {}
