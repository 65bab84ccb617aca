//! What a new user name, e-mail address and password must be. Asked at registration only: who has an account logs in.

use email_address::{EmailAddress, Options};
use secrecy::{ExposeSecret, SecretString};

/// Bytes of a password that bcrypt uses; it drops the rest without a word.
pub const MAX_PASSWORD_BYTES: usize = 72;
const MAX_USERNAME_CHARS: usize = 64;
const MAX_EMAIL_BYTES: usize = 254;

/// A user name: 1 to 64 characters, no control characters, no `@`, no white space around it.
#[derive(Clone, Debug)]
pub struct Username(String);

impl Username {
    /// Takes a name, or says why not.
    pub fn new(name: String) -> Result<Self, String> {
        if !(1..=MAX_USERNAME_CHARS).contains(&name.chars().count()) {
            return Err(format!("must have 1 to {MAX_USERNAME_CHARS} characters."));
        }
        if name.chars().any(char::is_control) {
            return Err("must have no control characters.".to_owned());
        }
        if name.contains('@') {
            return Err("must have no @, which only e-mail addresses have.".to_owned());
        }
        if name.trim() != name {
            return Err("must not begin or end with white space.".to_owned());
        }
        Ok(Self(name))
    }

    /// The name as the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An e-mail address (RFC 5321's form), at most 254 bytes.
#[derive(Clone)]
pub struct Email(String);

impl Email {
    /// Takes an address, or says why not.
    pub fn new(address: String) -> Result<Self, String> {
        if address.len() > MAX_EMAIL_BYTES {
            return Err(format!("must have at most {MAX_EMAIL_BYTES} bytes."));
        }
        // Not `Ada <ada@example.com>`, nor ` <ada@example.com>`: one address would have as many accounts as ways to write it.
        let options = Options::default().without_display_text();
        let is_bare = EmailAddress::parse_with_options(&address, options)
            .is_ok_and(|parsed| format!("{}@{}", parsed.local_part(), parsed.domain()) == address);
        if !is_bare || address.chars().any(char::is_control) {
            return Err("must be an e-mail address, for example ada@example.com.".to_owned());
        }
        Ok(Self(address))
    }

    /// The address as the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A password that bcrypt can tell from every other.
#[derive(Clone)]
pub struct NewPassword(SecretString);

impl NewPassword {
    /// Takes a password of at least `min_length` characters, or says why not.
    pub fn new(password: SecretString, min_length: usize) -> Result<Self, String> {
        let text = password.expose_secret();
        if text.chars().count() < min_length {
            return Err(format!("must have at least {min_length} characters."));
        }
        if text.len() > MAX_PASSWORD_BYTES {
            return Err(format!(
                "must have at most {MAX_PASSWORD_BYTES} bytes and has {}; letters beyond ASCII count for more than one.",
                text.len()
            ));
        }
        if text.contains('\0') {
            return Err("must have no NUL character.".to_owned());
        }
        Ok(Self(password))
    }

    /// The password, for its hash alone.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// The form in which names are compared without regard to case.
pub fn key_of(name: &str) -> String {
    name.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_measured_in_characters_below_and_in_bytes_above() {
        let takes = |text: &str| NewPassword::new(SecretString::from(text), 8).is_ok();

        assert!(takes("éééééééé"));
        assert!(!takes("ééééééé"));
        assert!(takes(&"🙂".repeat(18)), "72 bytes");
        assert!(!takes(&"🙂".repeat(19)), "76 bytes");
        assert!(!takes("with\0nul!"));
    }

    #[test]
    fn an_address_is_an_address_and_nothing_around_it() {
        for address in [
            "ada@example.com",
            "a+b@example.com",
            "ada@localhost",
            "ä@exämple.de",
        ] {
            assert!(Email::new(address.to_owned()).is_ok(), "{address}");
        }
        for address in [
            "",
            "ada",
            "ada@",
            "@example.com",
            "ada@ example.com",
            "ada@example.com ",
            "Ada <ada@example.com>",
            " <ada@example.com>",
            "<ada@example.com>",
            "x\r\nBcc: y <a@b.c>",
            "\"a\nb\"@example.com",
        ] {
            assert!(Email::new(address.to_owned()).is_err(), "{address:?}");
        }
    }

    #[test]
    fn a_user_name_that_could_be_taken_for_another_is_refused() {
        for name in ["", " ada", "ada ", "a@b", "a\nb", "a\u{85}b"] {
            assert!(Username::new(name.to_owned()).is_err(), "{name:?}");
        }
        assert!(Username::new("Ada Löwe".to_owned()).is_ok());
        assert!(Username::new("ü".repeat(64)).is_ok());
        assert!(Username::new("ü".repeat(65)).is_err());
    }
}
