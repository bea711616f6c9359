//! Reaching into guests: transports, probe, deploy saga.
