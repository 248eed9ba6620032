//! slpo
fn main() {}
