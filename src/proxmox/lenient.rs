//! Proxmox's numbers and booleans as they come: 1, "1", 1.0, true, null or absent.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A whole number of at least 0; 0 where there is none.
pub fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Ok(read(&Value::deserialize(deserializer)?).unwrap_or_default())
}

/// A whole number of at least 0, where there is one.
pub fn maybe_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(read(&Value::deserialize(deserializer)?))
}

/// A boolean; false where there is none.
pub fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(read(&Value::deserialize(deserializer)?).is_some_and(|number| number != 0))
}

/// A text, also where a number stands for one; empty where there is none.
pub fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => text,
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    })
}

fn read(value: &Value) -> Option<u64> {
    match value {
        Value::Bool(flag) => Some(u64::from(*flag)),
        Value::Number(number) => number.as_u64().or_else(|| number.as_f64().and_then(whole)),
        Value::String(text) => text.trim().parse().ok().or_else(|| text.trim().parse().ok().and_then(whole)),
        _ => None,
    }
}

fn whole(number: f64) -> Option<u64> {
    // Shares of a core and the like; a float of this size has no fraction that matters, so the cast is exact enough.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked against the range first")]
    (0.0..9.0e15).contains(&number).then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn all_spellings_read() {
        for one in [json!(1), json!("1"), json!(1.0), json!("1.9"), json!(true)] {
            assert_eq!(read(&one), Some(1), "{one}");
        }
        for none in [json!(null), json!("x"), json!(-1), json!("-1"), json!([]), json!(1e300)] {
            assert_eq!(read(&none), None, "{none}");
        }
    }
}
