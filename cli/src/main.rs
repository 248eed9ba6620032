//! slpo
fn main(){}
