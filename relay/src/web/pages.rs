//! The pages that people see instead of an answer: the relay's own, or those of its operator.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use parking_lot::RwLock;
use shared::kit::small_file;
use tokio::sync::Notify;
use tracing::{error, info};

use super::fault::{Fault, Side};
use crate::config::CurrentConfig;
use crate::metrics::FaultCode;

/// The longest page in bytes. It is sent whole, to whoever asks for what is not there.
const LONGEST_PAGE: u64 = 256 * 1024;

/// So many files of a folder are looked at: more are no folder of pages.
const MOST_FILES: usize = 256;

/// The page for whatever has none of its own.
const DEFAULT: &str = "default";

/// The pages as they are now, which can change while the relay runs. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct ErrorPages(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: CurrentConfig,
    current: RwLock<Arc<Pages>>,
    /// Somebody wants the files to be read again.
    look: Notify,
}

/// Pages, by their names without `.html`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Pages(BTreeMap<Box<str>, Page>);

/// A page with gaps.
#[derive(Debug, PartialEq, Eq)]
struct Page(Vec<Piece>);

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Gap(Gap),
}

/// What differs between pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gap {
    Status,
    Code,
    Title,
    Advice,
    Side,
    Id,
}

impl ErrorPages {
    /// The pages that `config` names.
    ///
    /// # Errors
    ///
    /// There are none where it says, or one that cannot be.
    pub(crate) async fn new(config: CurrentConfig) -> anyhow::Result<Self> {
        let current = RwLock::new(Arc::new(read(&config).await?));
        Ok(Self(Arc::new(Shared { config, current, look: Notify::new() })))
    }

    /// Those of this moment.
    pub(crate) fn now(&self) -> Arc<Pages> {
        Arc::clone(&self.0.current.read())
    }

    /// The folder may be another one, or its files: they are read again.
    pub(crate) fn look(&self) {
        self.0.look.notify_one();
    }

    /// Reads them again when somebody asks for it. What is not good changes nothing.
    pub(crate) async fn follow(&self) -> Infallible {
        loop {
            self.0.look.notified().await;
            match read(&self.0.config).await {
                Ok(pages) if pages == *self.now() => (),
                Ok(pages) => {
                    info!(pages = pages.0.len(), "people see other error pages");
                    *self.0.current.write() = Arc::new(pages);
                }
                Err(err) => error!("the error pages stay as they are: {err:#}"),
            }
        }
    }
}

/// The pages that the configuration names now.
async fn read(config: &CurrentConfig) -> anyhow::Result<Pages> {
    let Some(folder) = config.now().web.error_pages.clone() else { return Ok(Pages::default()) };
    // Not on a thread that moves data.
    let reading = tokio::task::spawn_blocking(move || Pages::read(&folder));
    reading.await.context("cannot read the error pages")?
}

impl Pages {
    /// Those in a folder. May wait for the disk.
    ///
    /// # Errors
    ///
    /// There is no folder, no page in it, or one that nobody would ever see.
    pub(crate) fn read(folder: &Path) -> anyhow::Result<Self> {
        let shown = folder.display();
        let entries = fs::read_dir(folder).with_context(|| format!("error-pages: {shown}"))?;
        let mut pages = BTreeMap::new();
        for (count, entry) in entries.enumerate() {
            if count >= MOST_FILES {
                bail!("error-pages: {shown} has more than {MOST_FILES} files");
            }
            let path = entry.with_context(|| format!("error-pages: {shown}"))?.path();
            let at = path.display();
            if path.extension().is_none_or(|extension| extension != "html") {
                continue;
            }
            let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
            if !is_page(name) {
                bail!("error-pages: {at}: no answer of the relay is called '{name}': {NAMES}");
            }
            let text = small_file::read_text(&path, LONGEST_PAGE);
            let text = text.with_context(|| format!("error-pages: {at}"))?;
            pages.insert(name.into(), Page::new(&text));
        }
        if pages.is_empty() {
            bail!("error-pages: there is no page in {shown}: {NAMES}");
        }
        Ok(Self(pages))
    }

    /// What somebody reads of a fault, whose request has the number `id`.
    pub(crate) fn html(&self, fault: Fault, id: &str) -> String {
        let status = fault.status().as_u16();
        let names = [
            Cow::Borrowed(fault.code()),
            Cow::Owned(status.to_string()),
            Cow::Owned(format!("{}xx", status / 100)),
            Cow::Borrowed(DEFAULT),
        ];
        let fill = |page: &Page| page.fill(fault, id);
        let own = names.iter().find_map(|name| self.0.get(&**name));
        own.map_or_else(|| fill(&Page::new(include_str!("page.html"))), fill)
    }
}

/// Which files are pages.
const NAMES: &str = "name the files after a status (404.html, 5xx.html), after a code \
                     (no_client.html), or default.html";

fn is_page(name: &str) -> bool {
    let is_status = || {
        let (class, rest) = name.split_at_checked(1).unwrap_or_default();
        let is_digits = rest.len() == 2 && rest.bytes().all(|byte| byte.is_ascii_digit());
        ["4", "5"].contains(&class) && (rest == "xx" || is_digits)
    };
    name == DEFAULT || FaultCode::ALL.iter().any(|code| code.label() == name) || is_status()
}

impl Page {
    fn new(mut text: &str) -> Self {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        while let Some((before, behind)) = text.split_once("{{") {
            plain.push_str(before);
            let gap = behind.split_once("}}").and_then(|(name, rest)| {
                let gap = Gap::ALL.iter().find(|(known, _)| *known == name.trim())?;
                Some((gap.1, rest))
            });
            match gap {
                Some((gap, rest)) => {
                    pieces.push(Piece::Text(std::mem::take(&mut plain).into()));
                    pieces.push(Piece::Gap(gap));
                    text = rest;
                }
                // Somebody else's braces.
                None => {
                    plain.push_str("{{");
                    text = behind;
                }
            }
        }
        plain.push_str(text);
        pieces.push(Piece::Text(plain.into()));
        Self(pieces)
    }

    fn fill(&self, fault: Fault, id: &str) -> String {
        let mut page = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => page.push_str(text),
                Piece::Gap(Gap::Status) => page.push_str(fault.status().as_str()),
                Piece::Gap(Gap::Code) => page.push_str(fault.code()),
                Piece::Gap(Gap::Title) => escape(&mut page, fault.title()),
                Piece::Gap(Gap::Advice) => escape(&mut page, fault.advice()),
                Piece::Gap(Gap::Side) => escape(&mut page, side(fault.side())),
                Piece::Gap(Gap::Id) => escape(&mut page, id),
            }
        }
        page
    }
}

impl Gap {
    const ALL: [(&str, Self); 6] = [
        ("status", Self::Status),
        ("code", Self::Code),
        ("title", Self::Title),
        ("advice", Self::Advice),
        ("side", Self::Side),
        ("id", Self::Id),
    ];
}

/// Whose it is to do something, for people.
pub(crate) fn side(side: Side) -> &'static str {
    match side {
        Side::Visitor => "The request itself is the reason.",
        Side::Owner => "The tunnel's owner can do something about it; the relay is fine.",
        Side::Relay => "The relay's operator can do something about it.",
    }
}

/// Writes text into a page, in whatever place of it.
fn escape(page: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => page.push_str("&amp;"),
            '<' => page.push_str("&lt;"),
            '>' => page.push_str("&gt;"),
            '"' => page.push_str("&quot;"),
            '\'' => page.push_str("&#39;"),
            c => page.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// A folder that is removed with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let name = format!("sallyport-pages-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).unwrap();
            files.iter().for_each(|(name, text)| fs::write(path.join(name), text).unwrap());
            Self(path)
        }

        fn read(&self) -> Result<Pages, String> {
            Pages::read(&self.0).map_err(|err| format!("{err:#}"))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn the_page_that_says_most_is_shown_and_the_gaps_are_filled() {
        let files = [
            ("404.html", "{{status}} {{ id }} {{unknown}} {{"),
            ("5xx.html", "{{code}}: {{title}}. {{advice}} {{side}}"),
            ("no_client.html", "away"),
            ("default.html", "<p title=\"{{advice}}\">"),
            ("README.md", "{{status}}"),
        ];
        let pages = Folder::new("good", &files).read().unwrap();
        assert_eq!(pages.html(Fault::UnknownTunnel, "1-2"), "404 1-2 {{unknown}} {{");
        assert_eq!(pages.html(Fault::NoClient, "1-2"), "away");
        let busy = pages.html(Fault::ClientBusy, "1-2");
        assert!(busy.starts_with("client_busy: The tunnel&#39;s client has no room"), "{busy}");
        let bad = pages.html(Fault::BadRequest("\"<script>"), "1-2");
        assert_eq!(bad, "<p title=\"&quot;&lt;script&gt;\">");
    }

    #[test]
    fn without_an_operators_page_there_is_the_relays_own() {
        let pages = Folder::new("few", &[("404.html", "gone")]).read().unwrap();
        for pages in [pages, Pages::default()] {
            let page = pages.html(Fault::NoClient, "1-2");
            for part in ["503", "no_client", "is not connected", "1-2", "owner can do something"] {
                assert!(page.contains(part), "{part}: {page}");
            }
            assert!(!page.contains("{{"), "{page}");
        }
    }

    #[test]
    fn a_folder_that_is_none_says_what_is_wrong() {
        let long = "x".repeat(LONGEST_PAGE as usize + 1);
        let cases = [
            ("empty", "404.htm", "", "there is no page in"),
            ("typo", "40x.html", "", "no answer of the relay is called '40x': name the files"),
            ("other", "200.html", "", "is called '200'"),
            ("long", "404.html", &long, "larger than 262144 bytes"),
        ];
        for (name, file, text, reason) in cases {
            let said = Folder::new(name, &[(file, text)]).read().unwrap_err();
            assert!(said.starts_with("error-pages: ") && said.contains(reason), "{said}");
        }
        let nowhere = Pages::read(Path::new("/nowhere/at/all")).unwrap_err();
        assert!(format!("{nowhere:#}").contains("No such file"), "{nowhere:#}");
    }
}
