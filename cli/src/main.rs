//! slpo
#![allow(dead_code, unused_imports)]

mod report;
mod run_folder;

fn main() {}
