//! A visitor who writes HTTP/1 byte by byte, and reads answers as they come.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::peer::{expect_pattern, send_pattern};
use crate::wait::within;

/// A connection on which a test writes HTTP/1.
#[derive(Debug)]
pub struct Line<S = TcpStream> {
    stream: BufReader<S>,
}

/// The head of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The status.
    pub status: u16,
    /// The headers, their names in lower case.
    pub headers: Fields,
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: Fields,
    /// The whole body.
    pub body: Vec<u8>,
    /// What came behind it.
    pub trailers: Fields,
}

/// Names, in lower case, and values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<(String, String)>);

impl Fields {
    /// The first value of `name`.
    pub fn of(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str())
    }

    /// How many of them are called `name`.
    pub fn count(&self, name: &str) -> usize {
        self.0.iter().filter(|(one, _)| one == name).count()
    }
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body in UTF-8")
    }
}

impl Line {
    /// Connects to `addr`.
    pub async fn connect(addr: SocketAddr) -> Self {
        let stream = within("a connection", TcpStream::connect(addr)).await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        Self::over(stream)
    }

    /// Closes with a reset.
    pub fn reset(self) {
        self.stream.into_inner().set_zero_linger().expect("a socket");
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line<S> {
    /// Writes and reads by `stream`.
    pub fn over(stream: S) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    /// Sends `bytes`. That the far end does not take them shows in its answer, or in that there is
    /// none.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sending = async {
            self.stream.write_all(bytes.as_ref()).await?;
            self.stream.flush().await
        };
        drop(within("bytes to be taken", sending).await);
    }

    /// Sends a GET of `path` for `host`.
    pub async fn get(&mut self, host: &str, path: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
    }

    /// Asks for `path` at `host`, and waits for the whole answer.
    pub async fn ask(&mut self, host: &str, path: &str) -> Answer {
        self.get(host, path).await;
        self.answer().await
    }

    /// Says that nothing more comes.
    pub async fn half_close(&mut self) {
        self.stream.shutdown().await.expect("a connection that is open");
    }

    /// The next answer, which has to be there and whole.
    pub async fn answer(&mut self) -> Answer {
        match self.try_answer().await {
            Ok(Some(answer)) => answer,
            Ok(None) => panic!("the end instead of an answer"),
            Err(err) => panic!("no whole answer but {err}"),
        }
    }

    /// The next answer, which may begin when the caller's patience says so: the body then comes at
    /// once.
    pub async fn slow_answer(&mut self) -> Answer {
        self.stream.fill_buf().await.expect("an answer");
        self.answer().await
    }

    /// The next answer. `None`: the connection has ended without one.
    ///
    /// # Errors
    ///
    /// The answer is not whole, or there is a reset instead.
    pub async fn try_answer(&mut self) -> io::Result<Option<Answer>> {
        let Some(Head { status, headers }) = self.head().await? else { return Ok(None) };
        let (mut body, mut trailers) = (Vec::new(), Fields::default());
        if headers.of("transfer-encoding").is_some() {
            while let Some(chunk) = self.chunk().await? {
                body.extend(chunk);
            }
            trailers = self.fields().await?;
        } else if let Some(length) = headers.of("content-length") {
            body = vec![0; length.parse().expect("a length")];
            within("a body", self.stream.read_exact(&mut body)).await?;
        } else if status != 204 && status != 304 {
            within("a body", self.stream.read_to_end(&mut body)).await?;
        }
        Ok(Some(Answer { status, headers, body, trailers }))
    }

    /// The head of the next answer. What comes before it, of status 1xx, is one of its own. `None`:
    /// the connection has ended without one.
    ///
    /// # Errors
    ///
    /// It is not whole, or there is a reset instead.
    pub async fn head(&mut self) -> io::Result<Option<Head>> {
        let first = self.text_line().await?;
        if first.is_empty() {
            return Ok(None);
        }
        let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5));
        let status = status.and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no answer but {first:?}"));
        Ok(Some(Head { status, headers: self.fields().await? }))
    }

    /// The next chunk of a body that comes in chunks. `None`: that was the last.
    ///
    /// # Errors
    ///
    /// It is not whole.
    pub async fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let length = self.text_line().await?;
        let length = length.strip_suffix("\r\n").ok_or(ErrorKind::UnexpectedEof)?;
        let length = usize::from_str_radix(length, 16).expect("a length in hexadecimal");
        if length == 0 {
            return Ok(None);
        }
        let mut chunk = vec![0; length + 2];
        within("a chunk", self.stream.read_exact(&mut chunk)).await?;
        assert!(chunk.ends_with(b"\r\n"), "a chunk does not end");
        chunk.truncate(length);
        Ok(Some(chunk))
    }

    /// The next bytes, as many as are to be read.
    ///
    /// # Errors
    ///
    /// There are fewer.
    pub async fn read(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        within("bytes", self.stream.read_exact(&mut bytes)).await?;
        Ok(bytes)
    }

    /// Some of the next bytes. None at the end.
    ///
    /// # Errors
    ///
    /// There is a reset.
    pub async fn some(&mut self) -> io::Result<Vec<u8>> {
        let bytes = within("bytes", self.stream.fill_buf()).await?.to_vec();
        self.stream.consume(bytes.len());
        Ok(bytes)
    }

    /// Sends the first `length` bytes of the pattern of one seed, and expects those of another, at
    /// once.
    pub async fn exchange(&mut self, send: usize, expect: usize, length: usize) {
        let (mut reader, mut writer) = tokio::io::split(&mut self.stream);
        tokio::join!(
            send_pattern(&mut writer, send, length),
            expect_pattern(&mut reader, expect, length),
        );
    }

    /// Expects the far end to have said everything.
    pub async fn expect_end(&mut self) {
        let rest = self.some().await.expect("an end and no reset");
        assert!(rest.is_empty(), "{} instead of the end", rest.escape_ascii());
    }

    /// Waits until the far end is gone, in whatever way.
    pub async fn expect_gone(&mut self) {
        while self.some().await.is_ok_and(|bytes| !bytes.is_empty()) {}
    }

    async fn text_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        within("a line", self.stream.read_line(&mut line)).await?;
        Ok(line)
    }

    /// Fields up to an empty line.
    async fn fields(&mut self) -> io::Result<Fields> {
        let mut fields = Vec::new();
        loop {
            let line = self.text_line().await?;
            let line = line.strip_suffix("\r\n").ok_or(ErrorKind::UnexpectedEof)?;
            if line.is_empty() {
                return Ok(Fields(fields));
            }
            let (name, value) = line.split_once(':').expect("a name and a value");
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
}
