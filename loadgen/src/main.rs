//! Load generator for any Gearman server.

fn main() {}
