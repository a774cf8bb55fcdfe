//! Changing a zone (RFC 2136), signed with a key that its name server knows (RFC 8945).
//!
//! Each change is one message over a connection of its own, and counts only if the answer is signed
//! too: nobody in between can say that it was done.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow, bail};
use hickory_proto::op::{Message, OpCode, Query, ResponseCode, UpdateMessage};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::rdata::tsig::{TsigAlgorithm, TsigError};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType, TSigner};
use shared::kit::net::dial_service;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::config::{DnsUpdate, TsigHash, TsigKey};

/// How long a change may take in all: the name server is asked by a person or before a certificate,
/// and writes to its disk.
const LONGEST: Duration = Duration::from_secs(10);

/// How long others may remember a text, in seconds: it is there for minutes, and the next one has
/// the same name.
const TXT_TTL: u32 = 60;

/// How long others may remember where subdomains lead, in seconds.
const ADDRESS_TTL: u32 = 300;

/// The longest text: that of one piece (RFC 1035, section 3.3).
const LONGEST_TEXT: usize = 255;

/// How far the clocks of both ends may be apart, in seconds (RFC 8945, section 10).
const FUDGE: u16 = 300;

/// A zone in which the relay makes records.
#[derive(Clone, Debug)]
pub(crate) struct Zone(DnsUpdate);

impl Zone {
    pub(crate) fn new(update: &DnsUpdate) -> Self {
        Self(update.clone())
    }

    /// Puts a text under `name`, beside others that are there.
    ///
    /// # Errors
    ///
    /// The name server does not do it.
    pub(crate) async fn set_txt(&self, name: &str, value: &str) -> anyhow::Result<()> {
        let record = txt(name, value)?;
        self.change(name, vec![record]).await
    }

    /// Takes that text away, and leaves others. It may be gone already.
    ///
    /// # Errors
    ///
    /// As [`set_txt`](Self::set_txt).
    pub(crate) async fn unset_txt(&self, name: &str, value: &str) -> anyhow::Result<()> {
        let mut record = txt(name, value)?;
        // This record and no other (RFC 2136, section 2.5.4).
        (record.dns_class, record.ttl) = (DNSClass::NONE, 0);
        self.change(name, vec![record]).await
    }

    /// Lets `name` lead to these addresses and to no others.
    ///
    /// # Errors
    ///
    /// As [`set_txt`](Self::set_txt).
    pub(crate) async fn point(&self, name: &str, addresses: &[IpAddr]) -> anyhow::Result<()> {
        let owner = dns_name(name)?;
        // All that were there go, in the same change (RFC 2136, section 2.5.2).
        let gone = [RecordType::A, RecordType::AAAA].map(|kind| {
            let mut gone = Record::update0(owner.clone(), 0, kind);
            gone.dns_class = DNSClass::ANY;
            gone.into_record_of_rdata()
        });
        let new = addresses
            .iter()
            .map(|ip| Record::from_rdata(owner.clone(), ADDRESS_TTL, RData::from(*ip)));
        self.change(name, gone.into_iter().chain(new).collect()).await
    }

    async fn change(&self, name: &str, records: Vec<Record>) -> anyhow::Result<()> {
        let server = &self.0.server;
        let changed = timeout(LONGEST, self.send(records)).await;
        let changed = changed.unwrap_or_else(|_| Err(anyhow!("it does not answer")));
        changed.with_context(|| format!("the name server {server} does not change {name}"))
    }

    async fn send(&self, records: Vec<Record>) -> anyhow::Result<()> {
        let DnsUpdate { server, key, zone, .. } = &self.0;
        let mut message = Message::query();
        message.metadata.op_code = OpCode::Update;
        message.metadata.recursion_desired = false;
        let mut section = Query::query(dns_name(zone.as_str())?, RecordType::SOA);
        section.set_query_class(DNSClass::IN);
        message.add_zone(section);
        message.add_updates(records);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut verifier = message.finalize(&signer(key)?, now)?.context("no signature")?;

        let (host, port) = server.or_host("");
        let mut socket = dial_service(host, port).await?;
        let bytes = message.to_vec()?;
        let length = u16::try_from(bytes.len()).context("it is too long")?;
        // Over TCP a message has its length in front (RFC 1035, section 4.2.2).
        socket.write_all(&[&length.to_be_bytes()[..], &bytes].concat()).await?;
        let length = socket.read_u16().await?;
        let mut answer = vec![0; usize::from(length)];
        socket.read_exact(&mut answer).await?;

        match verifier.verify(&answer) {
            Ok(answer) => check(answer.response_code),
            Err(_) => Err(unsigned(&answer).unwrap_or_else(|| {
                anyhow!("its answer is not signed with the key of --dns-update-key-file")
            })),
        }
    }
}

fn check(code: ResponseCode) -> anyhow::Result<()> {
    match code {
        ResponseCode::NoError => Ok(()),
        ResponseCode::Refused => bail!("the key does not allow it"),
        ResponseCode::NotAuth | ResponseCode::NotZone => {
            bail!("it is not in charge of the zone of --dns-update-zone")
        }
        code => bail!("it says {code}"),
    }
}

/// What a name server says that does not accept the signature, and so does not sign itself. Anybody
/// could say so; it is told as an error, and nothing follows from it.
fn unsigned(answer: &[u8]) -> Option<anyhow::Error> {
    let answer = Message::from_vec(answer).ok()?;
    let signature = answer.signature().and_then(|record| record.data.error);
    let says = match signature {
        Some(TsigError::BadKey) => "it does not know the key of --dns-update-key-file",
        Some(TsigError::BadSig) => {
            "it knows another secret by the name of the key of --dns-update-key-file"
        }
        Some(TsigError::BadTime) => "its clock and this one are too far apart",
        _ => return check(answer.response_code).err(),
    };
    Some(anyhow!(says))
}

fn signer(key: &TsigKey) -> anyhow::Result<TSigner> {
    let algorithm = match key.algorithm {
        TsigHash::Sha256 => TsigAlgorithm::HmacSha256,
        TsigHash::Sha384 => TsigAlgorithm::HmacSha384,
        TsigHash::Sha512 => TsigAlgorithm::HmacSha512,
    };
    Ok(TSigner::new(key.secret.clone(), algorithm, dns_name(&key.name)?, FUDGE)?)
}

fn txt(name: &str, value: &str) -> anyhow::Result<Record> {
    if value.len() > LONGEST_TEXT {
        bail!("the text for {name} is longer than {LONGEST_TEXT} bytes");
    }
    let text = TXT::new(vec![value.to_owned()]);
    Ok(Record::from_rdata(dns_name(name)?, TXT_TTL, RData::TXT(text)))
}

/// The whole name.
fn dns_name(name: &str) -> anyhow::Result<Name> {
    let mut whole = Name::from_ascii(name).with_context(|| format!("{name} is no name in DNS"))?;
    whole.set_fqdn(true);
    Ok(whole)
}
