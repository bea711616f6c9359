//! Real host operations in simulated guests of each family.
