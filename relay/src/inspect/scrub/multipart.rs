//! Forms whose fields are parts (RFC 7578), and whatever else comes in parts (RFC 2046, section 5.1).

use super::super::cost;
use super::super::names::Names;
use super::{Json, Unsure, parameter};
use crate::web::mask::MASKED;

/// The longest head of a part in bytes.
const LONGEST_HEAD: usize = 8 * 1024;

/// Parts on their way.
#[derive(Debug)]
pub(super) struct Multipart {
    /// What stands between two parts, with the end of line in front of it.
    delimiter: Vec<u8>,
    /// What has come, and may be a part of a delimiter or of a head.
    held: Vec<u8>,
    at: At,
    /// Nothing but a delimiter can have come yet.
    is_fresh: bool,
}

#[derive(Debug)]
enum At {
    /// Before the first part, where there is nothing to read, and behind the last one.
    Outside,
    /// Behind a delimiter: the rest of its line, and the head of the part.
    Head,
    Body(Part),
}

#[derive(Debug)]
enum Part {
    Plain,
    Secret,
    Json(Json),
}

impl Multipart {
    pub(super) fn new(boundary: &str) -> Self {
        // The first delimiter may be the very beginning.
        let held = b"\r\n".to_vec();
        let delimiter = format!("\r\n--{boundary}").into_bytes();
        Self { delimiter, held, at: At::Outside, is_fresh: true }
    }

    /// Goes on by `data`.
    ///
    /// # Errors
    ///
    /// A part has no head that can be read, or says that it is JSON and is none.
    pub(super) fn push(
        &mut self,
        data: &[u8],
        names: &Names,
        kept: &mut Vec<u8>,
    ) -> Result<(), Unsure> {
        self.held.extend_from_slice(data);
        loop {
            match &mut self.at {
                At::Head => {
                    let Some(end) = find(&self.held, b"\r\n\r\n") else {
                        if self.held.starts_with(b"--") {
                            // The last one: what follows is nothing that anybody reads.
                            kept.extend_from_slice(b"--\r\n");
                            self.at = At::Outside;
                            self.held.clear();
                            return Ok(());
                        }
                        let is_long = self.held.len() > LONGEST_HEAD;
                        return if is_long { Err(Unsure::NoMultipart) } else { Ok(()) };
                    };
                    let head: Vec<u8> = self.held.drain(..end + 4).collect();
                    if end > LONGEST_HEAD {
                        return Err(Unsure::NoMultipart);
                    }
                    let part = part(&head, names)?;
                    kept.extend_from_slice(&head);
                    if matches!(part, Part::Secret) {
                        kept.extend_from_slice(MASKED.as_bytes());
                    }
                    self.at = At::Body(part);
                }
                At::Outside | At::Body(_) => {
                    let found = find(&self.held, &self.delimiter);
                    // What may be the beginning of a delimiter waits for the rest of it.
                    let sure = found.unwrap_or_else(|| {
                        self.held.len().saturating_sub(self.delimiter.len() - 1)
                    });
                    self.is_fresh &= sure == 0;
                    let body: Vec<u8> = self.held.drain(..sure).collect();
                    if let At::Body(part) = &mut self.at {
                        match part {
                            Part::Plain => kept.extend_from_slice(&body),
                            Part::Secret => (),
                            Part::Json(json) => json.push(&body, names, kept)?,
                        }
                    }
                    if found.is_none() {
                        return Ok(());
                    }
                    self.held.drain(..self.delimiter.len());
                    // The end of line in front of the first one was never there.
                    let made_up = if self.is_fresh { 2 } else { 0 };
                    kept.extend_from_slice(&self.delimiter[made_up..]);
                    self.is_fresh = false;
                    self.at = At::Head;
                }
            }
        }
    }

    pub(super) fn cost(&self) -> usize {
        let json = match &self.at {
            At::Body(Part::Json(json)) => json.cost(),
            _ => 0,
        };
        cost::of(self.delimiter.capacity()) + cost::of(self.held.capacity()) + json
    }
}

/// What a part is, by its head.
fn part(head: &[u8], names: &Names) -> Result<Part, Unsure> {
    let head = std::str::from_utf8(head).map_err(|_| Unsure::NoMultipart)?;
    let mut kind = Part::Plain;
    for line in head.split("\r\n") {
        let Some((field, value)) = line.split_once(':') else { continue };
        let (value, parameters) = value.split_once(';').unwrap_or((value, ""));
        let value = value.trim().to_ascii_lowercase();
        if field.trim().eq_ignore_ascii_case("content-disposition") {
            let secret = ["name", "name*"].into_iter().any(|name| {
                parameter(parameters, name).is_some_and(|name| {
                    // With the language in front, as RFC 8187 has it.
                    let name = name.rsplit('\'').next().unwrap_or_default();
                    names.hide_parameter(name.as_bytes())
                })
            });
            if secret {
                return Ok(Part::Secret);
            }
        } else if field.trim().eq_ignore_ascii_case("content-type")
            && (value.ends_with("/json") || value.ends_with("+json"))
        {
            kind = Part::Json(Json::default());
        }
    }
    Ok(kind)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrubbed(body: &str) -> Result<String, Unsure> {
        let results = [1, 2, 5, 1000].map(|piece| {
            let names = Names::default();
            let (mut parts, mut kept) = (Multipart::new("XX"), Vec::new());
            for piece in body.as_bytes().chunks(piece) {
                parts.push(piece, &names, &mut kept)?;
            }
            Ok(String::from_utf8(kept).unwrap())
        });
        assert!(results.iter().all(|one| *one == results[0]), "{results:#?}");
        results.into_iter().next().unwrap()
    }

    #[test]
    fn parts_are_masked_by_the_names_of_their_fields() {
        let field = |name: &str, value: &str| {
            format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let body = format!(
            "{}{}{}--XX\r\nContent-Disposition: form-data; name=x\r\nContent-Type: \
             application/json\r\n\r\n{{\"token\":\"hush\"}}\r\n--XX--\r\n",
            field("user", "ann\r\n--X"),
            field("password", "hush\r\nhush"),
            field("empty", ""),
        );
        let expected = body.replace("hush\r\nhush", "***").replace("\"hush\"", "\"***\"");
        assert_eq!(scrubbed(&body).as_deref(), Ok(&*expected));
        let quoted =
            "--XX\r\ncontent-disposition: form-data; name*=utf-8''p%61ssword\r\n\r\nhush\r\n";
        assert!(!scrubbed(quoted).unwrap().contains("hush"));
    }

    #[test]
    fn a_part_whose_head_never_ends_is_given_up() {
        let body = format!("--XX\r\n{}", "x".repeat(LONGEST_HEAD + 1));
        assert_eq!(scrubbed(&body), Err(Unsure::NoMultipart));
    }

    #[test]
    fn what_is_cut_within_a_secret_says_nothing_of_it() {
        let body =
            "--XX\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\nhush\r\n--XX--\r\n";
        for end in 0..body.len() {
            assert!(!scrubbed(&body[..end]).unwrap().contains("hu"));
        }
    }
}
