//! Numbers and addresses as text, where there are many: without the ways of formatting that are not
//! needed.

use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

/// Writes a number in decimal digits.
pub fn push_number(text: &mut String, number: u64) {
    text.push_str(itoa::Buffer::new().format(number));
}

/// Writes an address as it is displayed.
pub fn push_ip(text: &mut String, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            let mut digits = itoa::Buffer::new();
            for (at, octet) in ip.octets().into_iter().enumerate() {
                if at > 0 {
                    text.push('.');
                }
                text.push_str(digits.format(octet));
            }
        }
        IpAddr::V6(ip) => write!(text, "{ip}").expect("a String takes everything"),
    }
}

/// Writes a time in seconds, to the microsecond and without zeros at the end: `0.25`.
pub fn push_seconds(text: &mut String, time: Duration) {
    push_number(text, time.as_secs());
    let micros = time.subsec_micros();
    if micros > 0 {
        // A digit in front of it keeps its zeros.
        let mut digits = itoa::Buffer::new();
        text.push('.');
        text.push_str(digits.format(1_000_000 + micros)[1..].trim_end_matches('0'));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(push: impl FnOnce(&mut String)) -> String {
        let mut text = String::new();
        push(&mut text);
        text
    }

    #[test]
    fn numbers_and_addresses_look_as_they_are_displayed() {
        for number in [0, 7, 10, 65_535, u64::MAX] {
            assert_eq!(text(|text| push_number(text, number)), number.to_string());
        }
        for ip in ["0.0.0.0", "192.0.2.1", "255.255.255.255", "::1", "2001:db8::7"] {
            assert_eq!(text(|text| push_ip(text, ip.parse().unwrap())), ip);
        }
    }

    #[test]
    fn times_have_no_more_digits_than_they_need() {
        let cases = [
            (Duration::ZERO, "0"),
            (Duration::from_millis(250), "0.25"),
            (Duration::from_micros(7_002), "0.007002"),
            (Duration::from_nanos(999), "0"),
            (Duration::new(3600, 1_000), "3600.000001"),
        ];
        for (time, expected) in cases {
            assert_eq!(text(|text| push_seconds(text, time)), expected);
        }
    }
}
