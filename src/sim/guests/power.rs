//! Switching simulated guests on and off through the simulated API: tasks that take their time, one at a time a guest.

use super::{Power, World, guest::now, kernel};
use crate::{
    model::{
        inventory::{Guest, Inventory},
        values::GuestKind,
    },
    sim::{
        TaskLog,
        backend::{Action, Backend, NodeUsage, Usage},
        lock,
    },
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// How long a task waits for another one that holds the guest's configuration, as on a real node.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// How often it looks.
const LOCK_LOOKS: u32 = 50;

impl Backend for World {
    fn inventory(&self) -> Inventory {
        self.memory.inventory()
    }

    fn config(&self, guest: &Guest) -> BTreeMap<String, Value> {
        self.memory.config(guest)
    }

    fn usage(&self, guest: &Guest) -> Usage {
        let Some(inside) = self.guests.get(&guest.vmid) else { return self.memory.usage(guest) };
        let state = inside.state();
        let Some(boot) = state.boot else { return Usage::default() };
        let (net_in, net_out) = kernel::traffic(inside, &state);
        let [load, ..] = kernel::load(inside, &state);
        Usage {
            pid: Some(1_000 + guest.vmid),
            uptime: u64::try_from((now() - boot) / 1_000_000).unwrap_or_default(),
            cpu: (load / f64::from(guest.cores.max(1))).min(1.0),
            memory: kernel::used_memory(inside, &state),
            disk: if guest.kind == GuestKind::Ct { kernel::used_bytes(inside) } else { 0 },
            net_in,
            net_out,
        }
    }

    fn node_usage(&self, node: &str) -> NodeUsage {
        let Some(inside) = self.nodes.get(node) else { return self.memory.node_usage(node) };
        let state = inside.state();
        let guests = self.inventory().guests.into_iter().filter(|guest| guest.node == node && guest.running());
        let (mut cpu, mut memory) = (0.02, 4 << 30);
        for guest in guests {
            let usage = self.usage(&guest);
            cpu += usage.cpu * f64::from(guest.cores.max(1)) / f64::from(inside.profile.cores.max(1));
            memory += usage.memory;
        }
        let (max_disk, disk) = kernel::root_size(inside);
        NodeUsage {
            uptime: u64::try_from((now() - state.boot.unwrap_or_else(now)) / 1_000_000).unwrap_or_default(),
            cpu: cpu.min(1.0),
            memory: memory.min(inside.profile.memory_mib << 20),
            disk,
            max_disk,
            kernel: inside.profile.kernel.clone(),
        }
    }

    fn adjust(&self, change: &mut dyn FnMut(&mut Inventory)) -> bool {
        let running = |inventory: &Inventory| {
            let guests = inventory.guests.iter().filter(|guest| guest.running());
            guests.map(|guest| guest.vmid).collect::<BTreeSet<u32>>()
        };
        let before = running(&self.inventory());
        let adjusted = self.memory.adjust(change);
        let after = running(&self.inventory());
        before.difference(&after).for_each(|vmid| self.switch(*vmid, Power::Off));
        after.difference(&before).for_each(|vmid| self.switch(*vmid, Power::On));
        adjusted
    }

    fn carry_out(&self, guest: &Guest, action: &Action, log: &TaskLog) -> Result<(), String> {
        let _held = self.hold(guest, log)?;
        let container = guest.kind == GuestKind::Ct;
        let (up, down) = if container { (1_300, 1_800) } else { (2_400, 6_000) };
        match action {
            Action::Start => self.pass(up, log)?,
            Action::Stop => self.pass(400, log)?,
            Action::Shutdown { .. } => self.pass(down, log)?,
            Action::Reboot { .. } => self.pass(down + up, log)?,
        }
        self.memory.carry_out(guest, action, log)?;
        let was_up = *action != Action::Start;
        let is_up = matches!(action, Action::Start | Action::Reboot { .. });
        if was_up {
            self.switch(guest.vmid, Power::Off);
        }
        if is_up {
            self.switch(guest.vmid, Power::On);
        }
        Ok(())
    }
}

/// A guest's configuration, held by one task.
struct Held<'a> {
    world: &'a World,
    vmid: u32,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        lock(&self.world.busy).retain(|vmid| *vmid != self.vmid);
    }
}

impl World {
    /// Waits until no other task holds the guest, in the real API's words where that takes too long.
    fn hold(&self, guest: &Guest, log: &TaskLog) -> Result<Held<'_>, String> {
        for _ in 0..LOCK_LOOKS {
            let mut busy = lock(&self.busy);
            if !busy.contains(&guest.vmid) {
                busy.push(guest.vmid);
                return Ok(Held { world: self, vmid: guest.vmid });
            }
            drop(busy);
            if log.aborted_within(self.scaled(LOCK_PATIENCE / LOCK_LOOKS)) {
                return Err("received interrupt".to_owned());
            }
        }
        let folder = if guest.kind == GuestKind::Ct { "lxc/pve-config" } else { "qemu-server/lock" };
        Err(format!("can't lock file '/run/lock/{folder}-{}.lock' - got timeout", guest.vmid))
    }

    /// Lets a task's time pass.
    fn pass(&self, millis: u64, log: &TaskLog) -> Result<(), String> {
        let interrupted = log.aborted_within(self.scaled(Duration::from_millis(millis)));
        if interrupted { Err("received interrupt".to_owned()) } else { Ok(()) }
    }

    fn scaled(&self, time: Duration) -> Duration {
        time.mul_f64(self.options.time_scale)
    }

    /// What a guest does when it gets or loses its power, and whoever wants to know.
    fn switch(&self, vmid: u32, power: Power) {
        if let Some(guest) = self.guests.get(&vmid) {
            match power {
                Power::On => guest.boot(),
                Power::Off => guest.shut_down(),
            }
        }
        if let Some(observer) = lock(&self.on_power).as_ref() {
            observer(vmid, power);
        }
    }
}
