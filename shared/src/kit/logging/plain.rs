//! Lines for people without colour: what a log in a file or a journal has.
//!
//! They look like those of `tracing-subscriber` and are made with half as many instructions: the
//! thread that moves visitors' bytes makes two for each visit.

use std::fmt::{self, Debug, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use super::utc::{TIMESTAMP, Utc};

/// Time, level, spans, module, message and fields.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plain;

impl<S> FormatEvent<S, Self> for Plain
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, Self>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        line.write_str(Utc::now().text(&mut [0; TIMESTAMP]))?;
        line.write_str(match *event.metadata().level() {
            Level::TRACE => " TRACE ",
            Level::DEBUG => " DEBUG ",
            Level::INFO => "  INFO ",
            Level::WARN => "  WARN ",
            Level::ERROR => " ERROR ",
        })?;
        if let Some(spans) = ctx.event_scope() {
            for span in spans.from_root() {
                line.write_str(span.name())?;
                let extensions = span.extensions();
                let fields = extensions.get::<FormattedFields<Self>>();
                if let Some(fields) = fields.filter(|fields| !fields.is_empty()) {
                    line.write_char('{')?;
                    line.write_str(&fields.fields)?;
                    line.write_char('}')?;
                }
                line.write_char(':')?;
            }
            line.write_char(' ')?;
        }
        line.write_str(event.metadata().target())?;
        line.write_str(": ")?;
        self.format_fields(line.by_ref(), event)?;
        line.write_char('\n')
    }
}

impl<'a> FormatFields<'a> for Plain {
    fn format_fields<R: RecordFields>(&self, line: Writer<'a>, fields: R) -> fmt::Result {
        let mut visitor = Fields { line, first: true, result: Ok(()) };
        fields.record(&mut visitor);
        visitor.result
    }
}

/// Writes fields as they come: the message as it is, others behind their name.
struct Fields<'a> {
    line: Writer<'a>,
    first: bool,
    result: fmt::Result,
}

impl Fields<'_> {
    fn field(&mut self, field: &Field, write: impl FnOnce(&mut Harmless<'_, '_>) -> fmt::Result) {
        if self.result.is_ok() {
            self.result = self.try_field(field.name(), write);
        }
    }

    fn try_field(
        &mut self,
        name: &str,
        write: impl FnOnce(&mut Harmless<'_, '_>) -> fmt::Result,
    ) -> fmt::Result {
        if !std::mem::take(&mut self.first) {
            self.line.write_char(' ')?;
        }
        if name != "message" {
            self.line.write_str(name)?;
            self.line.write_char('=')?;
        }
        write(&mut Harmless(&mut self.line))
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.field(field, |line| write!(line, "{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.field(field, |line| {
            if field.name() == "message" {
                line.write_str(value)
            } else {
                write!(line, "{value:?}")
            }
        });
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.field(field, |line| write!(line.0, "{value:?}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field, |line| line.0.write_str(itoa::Buffer::new().format(value)));
    }
}

/// Escapes what would do something to a terminal. What others say has been through
/// [`Foreign`](super::Foreign) before; this is for what nobody has thought of.
struct Harmless<'a, 'w>(&'a mut Writer<'w>);

impl Write for Harmless<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Nearly all text is without; bytes are looked at faster than characters. The second half
        // of the controls begins with 0xc2.
        if !text.bytes().any(|byte| byte < b' ' || byte == 0x7f || byte == 0xc2) {
            return self.0.write_str(text);
        }
        for c in text.chars() {
            // A panic's backtrace has several lines.
            if c.is_control() && c != '\n' && c != '\t' {
                write!(self.0, "{}", c.escape_default())?
            } else {
                self.0.write_char(c)?
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::Arc;

    use tracing::{dispatcher, info, info_span, warn};
    use tracing_subscriber::fmt::Layer;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::kit::output::Output;

    /// What is logged in `log`, without the times, by our layer and by that of the library.
    fn logged(log: impl Fn()) -> [String; 2] {
        [true, false].map(|ours| {
            let (mut reader, pipe) = std::io::pipe().unwrap();
            let output = Output::start("test", pipe, |_| None).unwrap();
            let lines = Layer::new().with_ansi(false).with_writer(Arc::clone(output.queue()));
            let registry = tracing_subscriber::registry();
            if ours {
                let lines = lines.fmt_fields(Plain).event_format(Plain);
                dispatcher::with_default(&registry.with(lines).into(), &log);
            } else {
                dispatcher::with_default(&registry.with(lines).into(), &log);
            }
            drop(output);
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            text.lines().map(|line| format!("{}\n", &line[TIMESTAMP..])).collect()
        })
    }

    #[test]
    fn lines_look_as_those_with_colour_do() {
        let [ours, theirs] = logged(|| {
            info!("plain");
            info!(
                visit = 1u64,
                most = u64::MAX,
                least = i64::MIN,
                seconds = 0.5,
                up = true,
                "{}",
                2
            );
            let tunnel = info_span!("tunnel", tunnel = %"web", id = tracing::field::Empty);
            tunnel.record("id", 7);
            let visitor = info_span!(parent: &tunnel, "visitor");
            warn!(parent: &visitor, code = ?Some(1), reason = "a \"b\"", "in spans");
        });
        assert_eq!(ours, theirs);
    }

    #[test]
    fn what_does_something_to_a_terminal_is_escaped() {
        let [ours, _] = logged(|| info!(agent = %"a\u{1b}[2Jb\u{9b}31m", "é\u{7}"));
        let place = "kit::logging::plain::tests";
        assert_eq!(
            ours,
            format!("  INFO shared::{place}: é\\u{{7}} agent=a\\u{{1b}}[2Jb\\u{{9b}}31m\n")
        );
    }
}
