//! Logging in by a password.

use super::Call;

/// A ticket and its CSRF token for a password, or for a ticket that is still good.
pub fn ticket(user: &str, password: &str) -> Call {
    Call::post(&["access", "ticket"]).with("username", user).with("password", password)
}

/// The second factor: the ticket that asked for it goes back, with `totp:123456` as the password.
pub fn second_factor(user: &str, challenge: &str, answer: &str) -> Call {
    ticket(user, answer).with("tfa-challenge", challenge)
}

/// What the caller may do, by path.
pub fn permissions() -> Call {
    Call::get(&["access", "permissions"])
}
