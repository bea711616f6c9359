//! The operators` HTTP API: JSON, server-sent events.
