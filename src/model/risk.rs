//! The five risk levels and their arithmetic.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How much a step can hurt. The order is the contract: `observe < low < medium < high < critical`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Risk {
    /// Reads only.
    Observe,
    /// Changes something that is easily put back.
    Low,
    /// Interrupts for a moment or changes a setting.
    Medium,
    /// Interrupts for long, or reaches many; wants a confirmation.
    High,
    /// Destroys data; wants the target's name typed.
    Critical,
}

impl Risk {
    /// One level up, capped at high: only an operation whose base is critical is ever critical.
    #[must_use]
    pub fn escalated(self) -> Self {
        match self {
            Self::Observe => Self::Observe,
            Self::Low => Self::Medium,
            Self::Medium | Self::High => Self::High,
            Self::Critical => Self::Critical,
        }
    }

    /// Whether an operator has to say yes first.
    pub fn needs_confirmation(self) -> bool {
        self >= Self::High
    }

    /// The word as it stands in the catalogue and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Risk;

    #[test]
    fn escalation_is_capped_and_never_touches_observe() {
        assert_eq!(Risk::Observe.escalated(), Risk::Observe);
        assert_eq!(Risk::Low.escalated().escalated().escalated(), Risk::High);
        assert_eq!(Risk::Critical.escalated(), Risk::Critical);
    }
}
