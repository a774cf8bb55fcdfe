//! Bytes that are written as `%` and two digits (RFC 3986, section 2.1).

/// The text with what `%` and two digits stand for put in; what is none stays as it is.
pub(crate) fn decoded(text: &[u8]) -> Vec<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        let digits = behind.first_chunk::<2>().map(|[high, low]| (digit(high), digit(low)));
        match digits {
            Some((Some(high), Some(low))) if first == b'%' => {
                bytes.push((high * 16 + low) as u8);
                rest = &behind[2..];
            }
            _ => bytes.push(first),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_escape_stays() {
        for (written, meant) in [
            ("", ""),
            ("a+b", "a+b"),
            ("%2B%2f", "+/"),
            ("t%6Fken", "token"),
            ("%25%32%35", "%25"),
            ("100%", "100%"),
            ("%2", "%2"),
            ("%zz%2x%%41", "%zz%2x%A"),
            ("%D0%BA", "к"),
        ] {
            assert_eq!(decoded(written.as_bytes()), meant.as_bytes(), "{written}");
        }
    }
}
