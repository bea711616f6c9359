//! The hub`s mind, over traits.

pub mod planning;
