//! Fields of a form: `name=value&…`.

use super::super::cost;
use super::super::names::Names;
use crate::web::mask::{LONGEST_NAME, MASKED};

/// A form on its way.
#[derive(Debug, Default)]
pub(super) struct Form {
    /// The end of the name that is being read, as it is written.
    name: Vec<u8>,
    at: At,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Name,
    Value,
    Secret,
}

impl Form {
    /// Goes on by `data`.
    pub(super) fn push(&mut self, data: &[u8], names: &Names, kept: &mut Vec<u8>) {
        for &byte in data {
            match (self.at, byte) {
                // A secret may have any other byte in it.
                (At::Secret, b'&') | (At::Name | At::Value, b'&' | b';' | b'\r' | b'\n') => {
                    self.name.clear();
                    self.at = At::Name;
                    kept.push(byte);
                }
                (At::Name, b'=') => {
                    kept.push(byte);
                    self.at = match names.hide_parameter(&self.name) {
                        true => {
                            kept.extend_from_slice(MASKED.as_bytes());
                            At::Secret
                        }
                        false => At::Value,
                    };
                }
                (At::Name, byte) => {
                    if self.name.len() >= 2 * LONGEST_NAME {
                        self.name.drain(..LONGEST_NAME);
                    }
                    self.name.push(byte);
                    kept.push(byte);
                }
                (At::Value, byte) => kept.push(byte),
                (At::Secret, _) => (),
            }
        }
    }

    pub(super) fn cost(&self) -> usize {
        cost::of(self.name.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_secrets_are_masked_however_their_names_are_written() {
        for (body, kept) in [
            ("a=1&password=hush&b=2", "a=1&password=***&b=2"),
            ("pass%77ord=hush", "pass%77ord=***"),
            ("user[password]=hush&user%5Bpin%5D=9", "user[password]=***&user%5Bpin%5D=***"),
            ("token=hu;sh&c=3", "token=***&c=3"),
            ("a=1;token=hush", "a=1;token=***"),
            ("a=1\r\npassword=hush", "a=1\r\npassword=***"),
            ("password=&x", "password=***&x"),
            ("q=token", "q=token"),
        ] {
            let mut out = Vec::new();
            Form::default().push(body.as_bytes(), &Names::default(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), kept, "{body}");
        }
        let nested = format!("{}[password]=hush", "x".repeat(5000));
        let mut out = Vec::new();
        let mut form = Form::default();
        form.push(nested.as_bytes(), &Names::default(), &mut out);
        assert!(out.ends_with(b"[password]=***") && form.cost() < 1000);
    }
}
