//! A simulated Proxmox cluster.
