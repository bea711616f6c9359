//! remotectl: an AI-powered remote control for Proxmox VE, in one executable that deploys itself.
//!
//! The modules are the floors of the house, topmost first; a file imports only from floors below its own
//! (`tests/floors.rs` holds that). ARCHITECTURE.md is the map.

pub mod cli;

pub mod roles;

pub mod api;
pub mod sim;

pub mod engine;

pub mod guest;
pub mod host;

pub mod llm;
pub mod proxmox;

pub mod link;
pub mod store;

pub mod sys;

pub mod model;
