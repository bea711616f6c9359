//! The hub`s mind, over traits.
