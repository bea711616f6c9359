//! The Proxmox VE API: client, tasks, typed resources.
