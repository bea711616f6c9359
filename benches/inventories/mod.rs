//! The inventories that planning is measured over.

use remotectl::model::Inventory;

/// The home lab of the tests.
pub fn homelab() -> Inventory {
    serde_json::from_str(include_str!("../../tests/fixtures/homelab.json")).unwrap()
}

/// The same guests again and again, each time with other ids and names, until there are so many.
pub fn grown(inventory: &Inventory, guests: usize) -> Inventory {
    let mut grown = inventory.clone();
    let next = 1 + inventory.guests.iter().map(|guest| guest.vmid).max().unwrap_or_default();
    for (vmid, guest) in (next..).zip(inventory.guests.iter().cycle()) {
        if grown.guests.len() >= guests {
            break;
        }
        let mut guest = guest.clone();
        guest.name = format!("{}-x{vmid}", guest.name);
        guest.vmid = vmid;
        grown.guests.push(guest);
    }
    grown
}
