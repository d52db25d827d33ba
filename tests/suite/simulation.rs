//! Whole households in a virtual world: fixed seeds, fresh ones, and what was found with them.
fn main() {}
