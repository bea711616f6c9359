//! The operations as one enum with typed arguments. The names, argument names and types are the catalogue's
//! (`operations.toml` beside this file); `tests/catalogue.rs` holds the two against each other, both ways.

use super::values::{GuestKind, LineRange, Patch, Size, SortBy, Span, Time};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// An operation that does not exist, or arguments that it does not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpError {
    /// No operation has that name.
    #[error("there is no operation `{0}`")]
    Unknown(String),
    /// The arguments are not what the operation asks for.
    #[error("{op}: {why}")]
    Arguments {
        /// The operation's name.
        op: &'static str,
        /// What is wrong, with the argument's name.
        why: String,
    },
}

/// One argument as the enum declares it: name, Rust type, whether it may be left out.
pub type Argument = (&'static str, &'static str, bool);

/// Declares each operation once: `Variant "name" { required: Type, … ; optional: Type, … }`.
macro_rules! operations {
    ($($variant:ident $name:literal { $($field:ident: $type:ty),* ; $($optional:ident: $otype:ty),* })*) => {
        /// What can be done to an infrastructure, with what it needs to know.
        #[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(tag = "op", content = "args", deny_unknown_fields)]
        #[expect(missing_docs, reason = "operations.toml documents each, and `catalogue::spec` gives that text")]
        pub enum Op {
            $(#[serde(rename = $name)]
            $variant {
                $($field: $type,)*
                $(#[serde(default, skip_serializing_if = "Option::is_none")]
                $optional: Option<$otype>,)*
            },)*
        }

        impl Op {
            /// Every operation's name and arguments, in the catalogue's order.
            pub const ALL: &'static [(&'static str, &'static [Argument])] = &[
                $(($name, &[
                    $((stringify!($field), stringify!($type), false),)*
                    $((stringify!($optional), stringify!($otype), true),)*
                ])),*
            ];

            /// The name in the catalogue.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $name,)*
                }
            }
        }
    };
}

operations! {
    ServiceList "service.list" { ; }
    ServiceStatus "service.status" { service: String ; }
    ServiceStart "service.start" { service: String ; }
    ServiceStop "service.stop" { service: String ; }
    ServiceRestart "service.restart" { service: String ; }
    ServiceReload "service.reload" { service: String ; }
    ServiceEnable "service.enable" { service: String ; }
    ServiceDisable "service.disable" { service: String ; }

    ConfigShow "config.show" { path: String ; lines: LineRange }
    ConfigSet "config.set" { path: String, key: String, value: String ; service: String }
    ConfigEdit "config.edit" { path: String, patch: Patch ; service: String }
    ConfigBackups "config.backups" { ; path: String }
    ConfigRestore "config.restore" { path: String ; backup: String }

    LogsQuery "logs.query" { ; service: String, path: String, since: Span, until: Time, priority: String, grep: String, lines: u64 }
    LogsAnalyze "logs.analyze" { ; service: String, path: String, since: Span }

    SystemInfo "system.info" { ; }
    SystemMetrics "system.metrics" { ; }
    SystemProcesses "system.processes" { ; sort: SortBy, limit: u64 }
    SystemDisk "system.disk" { ; path: String }
    SystemPorts "system.ports" { ; }
    SystemReboot "system.reboot" { ; }
    ExecRun "exec.run" { command: String ; timeout: Span }

    PackageUpdates "package.updates" { ; }
    PackageUpgrade "package.upgrade" { ; packages: Vec<String>, security_only: bool }
    PackageInstall "package.install" { packages: Vec<String> ; }
    PackageRemove "package.remove" { packages: Vec<String> ; }

    GuestList "guest.list" { ; }
    GuestStatus "guest.status" { ; }
    GuestStart "guest.start" { ; }
    GuestShutdown "guest.shutdown" { ; timeout: Span }
    GuestStop "guest.stop" { ; }
    GuestReboot "guest.reboot" { ; }
    GuestSuspend "guest.suspend" { ; }
    GuestResume "guest.resume" { ; }
    GuestMigrate "guest.migrate" { node: String ; }
    GuestSnapshot "guest.snapshot" { ; name: String }
    GuestSnapshots "guest.snapshots" { ; }
    GuestRollback "guest.rollback" { snapshot: String ; }
    GuestDeleteSnapshot "guest.delete_snapshot" { snapshot: String ; }
    GuestClone "guest.clone" { name: String ; newid: u64, node: String }
    GuestCreate "guest.create" { kind: GuestKind, name: String ; node: String, template: String, iso: String, storage: String, cores: u64, memory: Size, disk: Size }
    GuestDestroy "guest.destroy" { ; }
    GuestResize "guest.resize" { disk: String, size: Size ; }
    GuestConfigure "guest.configure" { ; cores: u64, memory: Size, tags: Vec<String>, onboot: bool, name: String }
    GuestBackup "guest.backup" { ; storage: String }
    GuestBackups "guest.backups" { ; }
    GuestRestore "guest.restore" { backup: String ; storage: String, newid: u64 }

    ClusterStatus "cluster.status" { ; }
    NodeList "node.list" { ; }
    NodeStatus "node.status" { ; }
    NodeDrain "node.drain" { ; to: String }
    NodeTasks "node.tasks" { ; limit: u64, errors: bool }
    StorageList "storage.list" { ; }
    TemplateList "template.list" { ; }
    TemplateDownload "template.download" { template: String ; storage: String }

    AgentCheck "agent.check" { ; }
    AgentDeploy "agent.deploy" { ; }
    AgentUpdate "agent.update" { ; version: String }
    AgentRemove "agent.remove" { ; }

    AlertList "alert.list" { ; }
    AlertSilence "alert.silence" { ; rule: String, r#for: Span }
    AlertUnsilence "alert.unsilence" { ; rule: String }
}

impl Op {
    /// An operation from its name and its arguments as JSON.
    pub fn from_parts(name: &str, args: Map<String, Value>) -> Result<Self, OpError> {
        let Some((known, _)) = Self::ALL.iter().find(|(known, _)| *known == name) else {
            return Err(OpError::Unknown(name.to_owned()));
        };
        let whole = Map::from_iter([("op".to_owned(), Value::from(*known)), ("args".to_owned(), Value::Object(args))]);
        serde_json::from_value(Value::Object(whole))
            .map_err(|error| OpError::Arguments { op: known, why: error.to_string() })
    }

    /// The arguments as JSON, absent ones left out.
    pub fn args(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(mut whole)) => match whole.remove("args") {
                Some(Value::Object(args)) => args,
                _ => Map::new(),
            },
            _ => Map::new(),
        }
    }

    /// The service that the operation is about, where it is about one.
    pub fn service(&self) -> Option<&str> {
        match self {
            Self::ServiceStatus { service }
            | Self::ServiceStart { service }
            | Self::ServiceStop { service }
            | Self::ServiceRestart { service }
            | Self::ServiceReload { service }
            | Self::ServiceEnable { service }
            | Self::ServiceDisable { service } => Some(service),
            Self::ConfigSet { service, .. }
            | Self::ConfigEdit { service, .. }
            | Self::LogsQuery { service, .. }
            | Self::LogsAnalyze { service, .. } => service.as_deref(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn args(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn operations_read_and_print_the_same_json() {
        let op = Op::from_parts("service.restart", args(&json!({"service": "nginx"}))).unwrap();
        assert_eq!(op, Op::ServiceRestart { service: "nginx".into() });
        assert_eq!(serde_json::to_value(&op).unwrap(), json!({"op": "service.restart", "args": {"service": "nginx"}}));
        let silence = Op::from_parts("alert.silence", args(&json!({"for": "2h"}))).unwrap();
        assert_eq!(Value::Object(silence.args()), json!({"for": "2h"}));
        assert_eq!(Value::Object(Op::GuestList {}.args()), json!({}));
    }

    #[test]
    fn wrong_arguments_are_named() {
        let why = |name, value: &Value| Op::from_parts(name, args(value)).unwrap_err().to_string();
        assert_eq!(why("service.frob", &json!({})), "there is no operation `service.frob`");
        assert!(why("service.stop", &json!({})).contains("missing field `service`"));
        assert!(why("service.stop", &json!({"service": "x", "force": true})).contains("unknown field `force`"));
        assert!(why("guest.shutdown", &json!({"timeout": "soon"})).contains("not a duration"));
    }
}
