//! The pure floor: operations, risk, policy, selectors, inventory, plans and states. No I/O, no clock, no randomness:
//! everything here is a function of its arguments, so that what an operator approves is what a test can check.

pub mod answer;
pub mod catalogue;
pub mod credential;
pub mod digest;
pub mod facts;
pub mod failure;
pub mod hold;
pub mod inventory;
pub mod lint;
pub mod messages;
pub mod op;
pub mod outcome;
pub mod plan;
pub mod policy;
pub mod risk;
pub mod saga;
pub mod secret;
pub mod selector;
pub mod shell;
pub mod state;
pub mod target;
pub mod undo;
pub mod values;
pub mod version;

pub use answer::Answer;
pub use failure::{Exit, Failure};
pub use inventory::Inventory;
pub use op::Op;
pub use outcome::Outcome;
pub use plan::{Plan, Step};
pub use policy::Policy;
pub use risk::Risk;
pub use target::Target;
