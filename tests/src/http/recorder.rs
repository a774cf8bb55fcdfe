//! A local service that reads requests as strictly as can be, and remembers them.
//!
//! What it takes for a request every other service takes for the same one: whatever could be read in
//! two ways is remembered as ill-formed.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::line::Fields;
use crate::local::Local;

/// A local service that remembers requests.
#[derive(Debug)]
pub struct Recorder {
    local: Local,
    record: Arc<Record>,
}

#[derive(Debug, Default)]
struct Record {
    seen: Mutex<Vec<Seen>>,
    ill_formed: Mutex<Vec<String>>,
    connections: AtomicUsize,
    now: AtomicUsize,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its method.
    pub method: String,
    /// Its target.
    pub target: String,
    /// Its headers, their names in lower case.
    pub headers: Fields,
    /// Its body.
    pub body: Vec<u8>,
    /// What came behind the body.
    pub trailers: Fields,
    /// On which connection it came, counted from 0.
    pub connection: usize,
    /// Which one it was there, counted from 0.
    pub place: usize,
}

/// What the service does about a request.
#[derive(Clone, Debug)]
pub struct Reply {
    /// It says this.
    pub bytes: Vec<u8>,
    /// And closes then.
    pub closes: bool,
}

impl Reply {
    /// A good answer with this body.
    pub fn ok(body: &str) -> Self {
        let length = body.len();
        let bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
        Self { bytes: bytes.into(), closes: false }
    }

    /// Nothing but the end of the connection.
    pub fn none() -> Self {
        Self { bytes: Vec::new(), closes: true }
    }

    /// The same, and the connection is closed without a warning.
    pub fn and_closes(self) -> Self {
        Self { closes: true, ..self }
    }
}

impl Recorder {
    /// Answers each request with its target.
    pub async fn start() -> Self {
        Self::start_with(|seen| Reply::ok(&seen.target)).await
    }

    /// Answers by `reply`.
    pub async fn start_with(reply: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let (record, reply) = (Arc::new(Record::default()), Arc::new(reply));
        let remembering = Arc::clone(&record);
        let local = Local::start(move |socket| {
            let (record, reply) = (Arc::clone(&remembering), Arc::clone(&reply));
            async move {
                let number = record.connections.fetch_add(1, Ordering::Relaxed);
                record.now.fetch_add(1, Ordering::Relaxed);
                // The relay may be gone at any time.
                drop(serve(socket, &record, number, &*reply).await);
                record.now.fetch_sub(1, Ordering::Relaxed);
            }
        })
        .await;
        Self { local, record }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.local.addr()
    }

    /// The requests since the last call, as they came.
    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.record.seen.lock())
    }

    /// What could be read in two ways, since the last call.
    pub fn ill_formed(&self) -> Vec<String> {
        std::mem::take(&mut self.record.ill_formed.lock())
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.record.connections.load(Ordering::Relaxed)
    }

    /// How many there are.
    pub fn connections_now(&self) -> usize {
        self.record.now.load(Ordering::Relaxed)
    }
}

async fn serve(
    socket: TcpStream,
    record: &Record,
    connection: usize,
    reply: &(dyn Fn(&Seen) -> Reply + Send + Sync),
) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut stream = BufReader::new(socket);
    for place in 0.. {
        let request = match read(&mut stream).await {
            Ok(Some(request)) => Seen { connection, place, ..request },
            Ok(None) => break,
            Err(err) => {
                if err.kind() == ErrorKind::InvalidData {
                    record.ill_formed.lock().push(err.to_string());
                }
                return Err(err);
            }
        };
        let Reply { bytes, closes } = reply(&request);
        record.seen.lock().push(request);
        stream.write_all(&bytes).await?;
        if closes {
            return Ok(());
        }
    }
    Ok(())
}

/// The next request. `None`: no more come.
async fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Seen>> {
    if stream.fill_buf().await?.is_empty() {
        return Ok(None);
    }
    let first = line(stream).await?;
    let parts: Vec<&str> = first.split(' ').collect();
    let &[method, target, "HTTP/1.1"] = parts.as_slice() else {
        return Err(ill_formed(format!("the request line {first:?}")));
    };
    let good_method = !method.is_empty() && method.bytes().all(is_token);
    let good_target = target == "*" || target.starts_with('/');
    // Letters that are not of ASCII are none of HTTP's, and yet cannot be taken for anything else.
    let good_target = good_target && !target.bytes().any(|b| b.is_ascii_control() || b == b' ');
    if !good_method || !good_target {
        return Err(ill_formed(format!("the request line {first:?}")));
    }
    let headers = fields(stream).await?;
    if headers.count("host") != 1 {
        return Err(ill_formed(format!("{} hosts", headers.count("host"))));
    }
    let lengths = (headers.count("content-length"), headers.count("transfer-encoding"));
    let (body, trailers) = match lengths {
        (0, 0) => Default::default(),
        (1, 0) => {
            let length = headers.of("content-length").unwrap_or_default();
            let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
            let length = length.parse().ok().filter(|_| digits);
            let mut body = vec![0; length.ok_or_else(|| ill_formed("a length".into()))?];
            stream.read_exact(&mut body).await?;
            (body, Fields::default())
        }
        (0, 1) if headers.of("transfer-encoding") == Some("chunked") => chunked(stream).await?,
        _ => return Err(ill_formed(format!("the framing in {headers:?}"))),
    };
    let (method, target) = (method.to_owned(), target.to_owned());
    Ok(Some(Seen { method, target, headers, body, trailers, connection: 0, place: 0 }))
}

async fn chunked(stream: &mut BufReader<TcpStream>) -> io::Result<(Vec<u8>, Fields)> {
    let mut body = Vec::new();
    loop {
        let size = line(stream).await?;
        let good = (1..=16).contains(&size.len()) && size.bytes().all(|b| b.is_ascii_hexdigit());
        let length = usize::from_str_radix(&size, 16).ok().filter(|_| good);
        match length.ok_or_else(|| ill_formed(format!("the size of a chunk {size:?}")))? {
            0 => return Ok((body, fields(stream).await?)),
            length => {
                let mut chunk = vec![0; length];
                stream.read_exact(&mut chunk).await?;
                body.extend(chunk);
                let end = line(stream).await?;
                if !end.is_empty() {
                    return Err(ill_formed(format!("{end:?} behind a chunk")));
                }
            }
        }
    }
}

async fn fields(stream: &mut BufReader<TcpStream>) -> io::Result<Fields> {
    let mut fields = Vec::new();
    loop {
        let line = line(stream).await?;
        if line.is_empty() {
            return Ok(Fields(fields));
        }
        let (name, value) = line.split_once(':').unwrap_or_default();
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(ill_formed(format!("the field {line:?}")));
        }
        fields.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
    }
}

/// A line, which ends as lines of HTTP do and nowhere looks as if it did.
async fn line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line).await?;
    if line.last() != Some(&b'\n') {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let shown = || ill_formed(format!("the line {}", line.escape_ascii()));
    let text = line.strip_suffix(b"\r\n").ok_or_else(shown)?;
    if text.iter().any(|byte| matches!(byte, b'\r' | b'\0')) {
        return Err(shown());
    }
    // Values may have any byte from 0x80 on.
    Ok(text.iter().map(|byte| char::from(*byte)).collect())
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn ill_formed(what: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}
