//! What planning costs in the process that plans: a sentence over a home lab, and over ten thousand guests.

use crate::report::{Report, Row};
use remotectl::{
    engine::planning::{PlanMeta, make_plan},
    llm::{Known, Planner as _, grammar::Grammar},
    model::{Inventory, Policy},
};
use std::{fs, path::Path};

/// How many guests a large cluster has.
const MANY: usize = 10_000;
const ONE: &str = "restart nginx on ct/118";
const ALL: &str = "check which VMs have agents installed";

pub fn measure(report: &mut Report) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/homelab.json");
    let few: Inventory = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let (few, many) = (Known::new(few.clone()), Known::new(grown(&few)));
    let section = "a plan, in the process (medians)";
    let rows = vec![
        Row::new("one target, 33 guests", || plan(ONE, &few)),
        Row::new("one target, 10,000 guests", || plan(ONE, &many)),
        Row::new("every VM, 33 guests", || plan(ALL, &few)),
        Row::new("every VM, 10,000 guests", || plan(ALL, &many)),
    ];
    report.race(section, rows, 50);
}

/// The same guests again and again, each time with other ids and names.
fn grown(inventory: &Inventory) -> Inventory {
    let mut grown = inventory.clone();
    let next = 1 + inventory.guests.iter().map(|guest| guest.vmid).max().unwrap_or_default();
    for (vmid, guest) in (next..).zip(inventory.guests.iter().cycle()) {
        if grown.guests.len() == MANY {
            break;
        }
        let mut guest = guest.clone();
        guest.name = format!("{}-{vmid}", guest.name);
        guest.vmid = vmid;
        grown.guests.push(guest);
    }
    grown
}

fn plan(text: &str, known: &Known) {
    let meta = PlanMeta { id: "7Q2K".to_owned(), text: text.to_owned(), planner: "grammar".to_owned(), created: 0 };
    let plan = make_plan(Grammar.plan(text, known), meta, known.inventory(), &Policy::default());
    assert!(plan.is_ok(), "{plan:?}");
}
