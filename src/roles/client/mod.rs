//! The client: every command that talks to a hub.
