//! What a process uses, as Linux tells.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::program::{Process, Signal};

/// How Linux shows that a socket listens (TCP_LISTEN).
const LISTENS: &str = "0A";

impl Process {
    /// The processor time that it has used so far.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(self.proc("stat")).expect("a running process");
        // The name, in brackets, can contain blanks; the fields are counted behind it.
        let (_, fields) = stat.rsplit_once(") ").expect("the name in brackets");
        let mut times = fields.split(' ').skip(11).map(|ticks| ticks.parse::<u64>());
        let mut next = || times.next().expect("a field").expect("a number");
        let ticks = next() + next();
        Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
    }

    /// The processor time that it uses during `window`, in which it does not end.
    pub async fn cpu_during(&mut self, window: Duration) -> Duration {
        let before = self.cpu();
        self.runs_on_for(window).await;
        self.cpu() - before
    }

    /// How many files it has open.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(self.proc("fd")).expect("a running process").count()
    }

    /// Whether it handles `signal` by now, instead of being ended by it.
    pub fn handles(&self, signal: Signal) -> bool {
        let status = fs::read_to_string(self.proc("status")).expect("a running process");
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let mask = u64::from_str_radix(mask.expect("a mask").trim(), 16).expect("a number");
        mask & 1 << (signal.as_raw() - 1) != 0
    }

    /// The kernel's number of the socket that listens at `address`. It is another one when it has
    /// been closed and opened again meanwhile.
    pub fn listener(&self, address: SocketAddr) -> Option<u64> {
        let sockets = fs::read_to_string(self.proc("net/tcp")).expect("a running process");
        let IpAddr::V4(ip) = address.ip() else { panic!("{address} is not IPv4") };
        let ip = u32::from_ne_bytes(ip.octets());
        let here = format!("{ip:08X}:{:04X}", address.port());
        sockets.lines().find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let listens = fields.get(1) == Some(&here.as_str()) && fields.get(3) == Some(&LISTENS);
            listens.then(|| fields.get(9).expect("an inode").parse().expect("a number"))
        })
    }

    fn proc(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.pid())
    }
}
