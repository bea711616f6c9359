//! The protocol between hub and agents.
