//! What in DNS proves that a host name is an owner's. Pure: what was found is handed in.
//!
//! There are two proofs, and each names the owner. A TXT record below the name has the owner's
//! code. Or the name itself is an alias of something that is the owner's alone: the code as a label
//! in front of the relay's domain, or a label that is kept for the owner.
//!
//! An alias of the relay's own name proves nothing: all whose names lead to the relay have the same
//! one, so the first of them who says that such a name is its own would get it, as would whoever
//! comes when the one that it was made for has gone. Nor does an alias of a label that an owner
//! has only while its client is there.

use std::fmt;

use data_encoding::BASE32_NOPAD;
use shared::control::protocol::{DnsRecord, DomainName};
use shared::kit::logging::Foreign;

use super::own::OwnNames;

/// The label in front of a name whose TXT records are looked at.
const LABEL: &str = "_sallyport";

/// What such a record begins with, so that it says what it is for.
const PREFIX: &str = "sallyport-verify=";

/// So many records are shown when none of them is the right one.
const MOST_SHOWN: usize = 4;

/// A code that nobody guesses, of 128 bits. It is a label too.
pub(crate) fn new_code() -> String {
    let mut code = [0; 16];
    getrandom::fill(&mut code).expect("the system gives random bytes");
    BASE32_NOPAD.encode(&code).to_ascii_lowercase()
}

/// The records that prove that a name is an owner's. One of them is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Records {
    name: DomainName,
    /// What the TXT record says.
    txt: String,
    /// What the name can be an alias of. The first is the one to recommend.
    targets: Vec<String>,
}

/// What was found under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// These, which may be none.
    Records(Vec<String>),
    /// Nobody can say.
    Failed(String),
}

/// What was found in DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) txt: Answer,
    pub(crate) alias: Answer,
}

/// What follows from what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The name is the owner's.
    Proven(DnsRecord),
    /// It is not, or not any more.
    Missing(Found),
    /// Nobody can say right now, and why.
    Unknown(String),
}

impl Records {
    /// Those that prove that `name` is the owner's who has this code, and for whom these labels are
    /// kept.
    pub(crate) fn new(
        name: &DomainName,
        code: &str,
        own: &OwnNames,
        labels: impl IntoIterator<Item = impl fmt::Display>,
    ) -> Self {
        let labels = std::iter::once(code.to_owned())
            .chain(labels.into_iter().map(|label| label.to_string()));
        let targets = match own.target() {
            Some(target) => labels.map(|label| format!("{label}.{target}")).collect(),
            None => Vec::new(),
        };
        Self { name: name.clone(), txt: format!("{PREFIX}{code}"), targets }
    }

    /// Where the TXT record is.
    pub(crate) fn txt_name(&self) -> String {
        format!("{LABEL}.{}", self.name)
    }

    /// What it says.
    pub(crate) fn txt(&self) -> &str {
        &self.txt
    }

    /// The TXT record.
    pub(crate) fn as_txt(&self) -> DnsRecord {
        DnsRecord { name: self.txt_name(), kind: "TXT".into(), value: self.txt.clone() }
    }

    /// All that would do, the one that works for every name first.
    pub(crate) fn all(&self) -> Vec<DnsRecord> {
        let alias = |target: &String| self.alias(target);
        std::iter::once(self.as_txt()).chain(self.targets.iter().map(alias)).collect()
    }

    /// The text, and the alias to recommend if there can be one.
    pub(super) fn recommended(&self) -> Vec<DnsRecord> {
        self.all().into_iter().take(2).collect()
    }

    fn alias(&self, target: &str) -> DnsRecord {
        DnsRecord { name: self.name.to_string(), kind: "CNAME".into(), value: target.to_owned() }
    }

    /// What follows from what was found.
    pub(crate) fn judge(&self, found: Found) -> Verdict {
        if let Answer::Records(texts) = &found.txt
            && texts.iter().any(|text| text.trim() == self.txt)
        {
            return Verdict::Proven(self.as_txt());
        }
        if let Answer::Records(aliases) = &found.alias {
            // Case does not matter in DNS, and a dot at the end says that it is the whole name.
            let is = |alias: &str, target: &str| {
                alias.strip_suffix('.').unwrap_or(alias).eq_ignore_ascii_case(target)
            };
            let target = self.targets.iter().find(|target| aliases.iter().any(|a| is(a, target)));
            if let Some(target) = target {
                return Verdict::Proven(self.alias(target));
            }
        }
        match (&found.txt, &found.alias) {
            (Answer::Failed(why), _) | (_, Answer::Failed(why)) => Verdict::Unknown(why.clone()),
            (Answer::Records(_), Answer::Records(_)) => Verdict::Missing(found),
        }
    }
}

/// What was found, for whoever looks for the mistake.
impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, answer, end) in [("TXT", &self.txt, ", "), ("CNAME", &self.alias, "")] {
            match answer {
                Answer::Records(found) if found.is_empty() => write!(f, "no {kind} record")?,
                Answer::Records(found) => {
                    let shown = found.iter().take(MOST_SHOWN);
                    let shown: Vec<_> = shown.map(|text| format!("`{}`", Foreign(text))).collect();
                    write!(f, "{kind} {}", shown.join(", "))?;
                    if found.len() > MOST_SHOWN {
                        write!(f, " and {} more", found.len() - MOST_SHOWN)?;
                    }
                }
                Answer::Failed(why) => write!(f, "no answer for {kind} ({})", Foreign(why))?,
            }
            f.write_str(end)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Records {
        let own = OwnNames::new(Some("t.example".parse().unwrap()), None, None);
        Records::new(&"app.example.com".parse().unwrap(), "code7", &own, ["shop"])
    }

    fn answer(records: &[&str]) -> Answer {
        Answer::Records(records.iter().map(|&text| text.to_owned()).collect())
    }

    fn judge(txt: &[&str], alias: &[&str]) -> Verdict {
        records().judge(Found { txt: answer(txt), alias: answer(alias) })
    }

    #[test]
    fn a_record_proves_a_name_only_if_it_names_the_owner() {
        let txt = ["v=spf1 -all", "sallyport-verify=code7"];
        assert_eq!(judge(&txt, &[]), Verdict::Proven(records().as_txt()));
        for target in ["code7.t.example.", "Shop.T.Example", "shop.t.example."] {
            assert!(matches!(judge(&[], &[target]), Verdict::Proven(_)), "{target}");
        }
        for txt in ["sallyport-verify=code8", "sallyport-verify=CODE7", "code7", ""] {
            assert!(matches!(judge(&[txt], &[]), Verdict::Missing(_)), "{txt}");
        }
        for target in ["t.example.", "app.t.example.", "x.code7.t.example.", "code7.t.example.com"]
        {
            assert!(matches!(judge(&[], &[target]), Verdict::Missing(_)), "{target}");
        }
    }

    #[test]
    fn what_nobody_can_say_is_not_missing() {
        let failed = || Answer::Failed("no answer".into());
        let unknown = Verdict::Unknown("no answer".into());
        let found = Found { txt: failed(), alias: answer(&["t.example."]) };
        assert_eq!(records().judge(found), unknown);
        assert_eq!(records().judge(Found { txt: answer(&["x"]), alias: failed() }), unknown);
        let found = Found { txt: failed(), alias: answer(&["shop.t.example."]) };
        assert!(matches!(records().judge(found), Verdict::Proven(_)));
    }

    #[test]
    fn what_was_found_instead_is_shown_harmless_and_not_without_end() {
        let Verdict::Missing(found) = judge(&["a", "b\n", "c", "d", "e"], &[]) else { panic!() };
        assert_eq!(found.to_string(), "TXT `a`, `b\\n`, `c`, `d` and 1 more, no CNAME record");
        let lines: Vec<_> = records().all().iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "_sallyport.app.example.com. TXT \"sallyport-verify=code7\"",
                "app.example.com. CNAME code7.t.example.",
                "app.example.com. CNAME shop.t.example.",
            ]
        );
    }

    #[test]
    fn a_code_is_another_one_each_time_and_a_label() {
        let codes = [new_code(), new_code()];
        assert_ne!(codes[0], codes[1]);
        assert!(
            codes.iter().all(|code| code.parse::<shared::control::protocol::Subdomain>().is_ok())
        );
    }

    #[test]
    fn a_relay_without_a_name_knows_the_record_of_text_alone() {
        let name = "app.example.com".parse().unwrap();
        let records = Records::new(&name, "code7", &OwnNames::default(), ["shop"]);
        assert_eq!(records.all(), [records.as_txt()]);
    }
}
