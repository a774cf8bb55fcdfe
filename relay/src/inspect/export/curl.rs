//! A request as a command for a shell.

use crate::inspect::{Field, Record};

/// Headers that curl makes by itself, or that concern one connection.
const MADE: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// The command that sends the request of an exchange again, as its visitor did. What is masked is as
/// it is kept, and so is a body that is cut.
pub(crate) fn curl(record: &Record) -> String {
    let scheme = if record.is_tls { "https" } else { "http" };
    let url = format!("{scheme}://{}{}", record.host, record.asked.target);
    // So that nothing in it stands for several.
    let mut command = format!("curl --globoff --path-as-is {}", quoted(url.as_bytes()));
    let method = &*record.asked.method;
    match method {
        "HEAD" => command += " --head",
        "GET" if record.request_body.kept.is_empty() => (),
        method => command += &format!(" --request {}", quoted(method.as_bytes())),
    }
    let sent = record.asked.fields.0.iter();
    for field in sent.filter(|field| !MADE.contains(&&*field.name)) {
        command += &format!(" \\\n  --header {}", quoted(&header(field)));
    }
    let body = &record.request_body.kept;
    // What no argument can have, or no text.
    let is_piped = body.contains(&0) || std::str::from_utf8(body).is_err();
    if !body.is_empty() {
        // Without this it would say by itself what the body is.
        if !record.asked.fields.0.iter().any(|field| &*field.name == "content-type") {
            command += " \\\n  --header 'Content-Type:'";
        }
        match is_piped {
            true => command += " \\\n  --data-binary @-",
            false => command += &format!(" \\\n  --data-raw {}", quoted(body)),
        }
    }
    let pipe = if is_piped { format!("printf {} | ", printf(body)) } else { String::new() };
    pipe + &command + "\n"
}

/// As curl takes it: a header without a value ends with a semicolon.
fn header(field: &Field) -> Vec<u8> {
    match field.value.is_empty() {
        true => format!("{};", field.name).into_bytes(),
        false => [field.name.as_bytes(), b": ", &field.value].concat(),
    }
}

/// One word for a shell, whatever is in it. Bytes that are no UTF-8 are replaced: the command is text.
fn quoted(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    format!("'{}'", text.replace('\0', "").replace('\'', r"'\''"))
}

/// The same for `printf`, which makes every byte of it.
fn printf(bytes: &[u8]) -> String {
    let octal = bytes.iter().map(|byte| format!("\\{byte:03o}"));
    format!("'{}'", octal.collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// What a shell makes of a word.
    fn read(word: &str) -> Vec<u8> {
        let script = format!("printf %s {word}");
        Command::new("sh").args(["-c", &script]).output().expect("a shell").stdout
    }

    #[test]
    fn a_shell_reads_each_word_as_it_was_whatever_is_in_it() {
        let mut nasty: Vec<String> = [
            "",
            "'",
            "''",
            "\\",
            "$(id)",
            "`id`",
            "a\nb\n",
            "\"",
            "!",
            "*",
            "~",
            "'; rm -rf /; '",
            "\r\n",
            "é",
            "\\'",
            "$HOME",
            "&& id",
            "|",
            "<",
            "#",
            "\t",
        ]
        .map(str::to_owned)
        .to_vec();
        // Whatever else there may be, from a generator of its own so that it is the same each time.
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        for _ in 0..200 {
            let word = (0..12).map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                char::from((state % 127 + 1) as u8)
            });
            nasty.push(word.collect());
        }
        for text in nasty {
            assert_eq!(read(&quoted(text.as_bytes())), text.as_bytes(), "{text:?}");
        }
    }

    #[test]
    fn bytes_that_no_word_can_have_are_made_by_printf() {
        let bytes: Vec<u8> = (0..=255).collect();
        let script = format!("printf {}", printf(&bytes));
        let made = Command::new("sh").args(["-c", &script]).output().expect("a shell").stdout;
        assert_eq!(made, bytes);
    }
}
