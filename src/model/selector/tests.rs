//! Selectors against the homelab inventory, and printing against parsing.

use super::*;
use proptest::prelude::*;

fn homelab() -> Inventory {
    serde_json::from_str(include_str!("../../../tests/fixtures/homelab.json")).unwrap()
}

fn taken(text: &str) -> String {
    let targets = select(text, &homelab()).unwrap_or_else(|error| panic!("{error}"));
    targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[test]
fn expressions_take_what_they_say() {
    assert_eq!(taken("tag=production and type=ct and not name=web-server"), "ct/110 ct/130 ct/131 ct/190");
    assert_eq!(taken("name=web-*"), "ct/118 ct/119");
    assert_eq!(taken("(tag=iot or pool=k3s) and node!=pve1"), "ct/160 vm/203 vm/204");
    assert_eq!(taken("OS=ubuntu AND agent=none AND status=running"), "ct/119 ct/141 ct/170");
    assert_eq!(taken("agent=0.9.*"), "ct/130 ct/150");
    assert_eq!(taken("service=nginx"), "ct/118 ct/119");
    assert_eq!(taken("os=ubuntu-22.04 and status=stopped"), "ct/171");
    assert_eq!(taken("name=\"web-*\""), "");
}

#[test]
fn templates_and_nodes_come_only_when_spoken_of() {
    assert!(!taken("all").contains("vm/900"));
    assert_eq!(taken("template=true"), "vm/900");
    assert_eq!(taken("name=ubuntu-template"), "vm/900");
    assert!(!taken("not name=blog").contains("node/"));
    assert_eq!(taken("type=node and agent=none"), "node/pve2 node/pve3");
}

#[test]
fn lists_take_targets_names_and_vmids() {
    assert_eq!(taken("vm/201, ct/118,blog,101,blog"), "ct/101 ct/118 ct/120 vm/201");
    assert_eq!(taken("node/pve1"), "node/pve1");
    assert_eq!(taken("pve2"), "node/pve2");
    assert_eq!(taken("cluster"), "cluster");
    assert_eq!(taken("homelab:ct/118"), "ct/118");
    assert_eq!(taken("k3s-*"), "vm/202 vm/203 vm/204");
}

#[test]
fn errors_point_at_the_byte_and_say_what_to_write() {
    let error = |text: &str| select(text, &homelab()).unwrap_err();
    let wrong = error("tag=web and nmae=blog");
    assert_eq!(wrong.column, 12);
    assert!(wrong.help.starts_with("did you mean `name`?"), "{wrong}");
    let shown = wrong.to_string();
    assert_eq!(
        shown.lines().take(3).collect::<Vec<_>>(),
        ["there is no key `nmae`", "  tag=web and nmae=blog", "              ^"]
    );
    assert_eq!(error("(tag=web").column, 0);
    assert_eq!(error("tag=").column, 4);
    assert_eq!(error("tag=web type=ct").column, 8);
    assert_eq!(error("type=box").column, 5);
    assert_eq!(error("blog,").column, 5);
    assert_eq!(error("").message, "the selector is empty");
    let unknown = error("ct/118, web-servr");
    assert_eq!(unknown.column, 8);
    assert!(unknown.help.starts_with("closest: web-server"), "{unknown}");
    assert_eq!(error("vm/118").message, "no guest or node is called `vm/118`");
    assert!(error(&"(".repeat(200)).message.starts_with("nested deeper"));
}

fn expression() -> impl Strategy<Value = Expression> {
    let value = prop_oneof!["[a-z0-9*?.-]{1,8}", "\\PC{0,6}"];
    let leaf = (0..Key::ALL.len(), any::<bool>(), value, any::<bool>()).prop_map(|(key, equal, text, literal)| {
        let key = match Key::ALL[key].1 {
            Key::Type | Key::Template | Key::Vmid => Key::Name,
            key => key,
        };
        let literal = literal || !parse::is_bare(&text);
        Expression::Compare { key, equal, pattern: Pattern { text, literal } }
    });
    leaf.prop_recursive(5, 24, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|inner| Expression::Not(Box::new(inner))),
            (inner.clone(), inner.clone()).prop_map(|(l, r)| Expression::And(Box::new(l), Box::new(r))),
            (inner.clone(), inner).prop_map(|(l, r)| Expression::Or(Box::new(l), Box::new(r))),
        ]
    })
}

proptest! {
    #[test]
    fn printing_and_parsing_agree(expression in expression()) {
        let text = expression.to_string();
        prop_assert_eq!(parse::expression(&text).unwrap(), expression, "{}", text);
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,60}|[a-z=!()\"' ,*\\\\]{0,40}") {
        if let Err(error) = select(&text, &homelab()) {
            prop_assert!(error.column <= text.len());
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
