//! The tunnels that a session has on the relay, and the way from there to those that it should
//! have.
//!
//! Pure: it says which messages to send, and takes their answers.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use shared::control::protocol::{
    FromClient, MAX_LOCAL, MAX_MESSAGE, PAGE, PublicAddress, Refusal, RefusalCode, TunnelAnswer,
    TunnelName, TunnelOutcome, TunnelRequest, page,
};

use crate::status::{Event, LiveTunnel};
use crate::tunnel::TunnelConfig;

/// So many messages wait for an answer at a time: enough to fill a round trip, little enough that
/// neither end waits for the other to read.
const MOST_UNANSWERED: usize = 4;

/// The most bytes of JSON that the tunnels of one message take up.
const PAGE_BYTES: usize = MAX_MESSAGE - 1024;

/// What a session has, and what it has asked for.
#[derive(Debug, Default)]
pub(super) struct Tunnels {
    open: HashMap<TunnelName, (TunnelConfig, Vec<PublicAddress>)>,
    /// Tunnels as they were when the relay refused them: asked for again when they have changed,
    /// or when it may help.
    refused: HashMap<TunnelName, (TunnelConfig, Refusal)>,
    /// Tunnels of which it was said last that they wait for somebody to make a record. The relay
    /// knows of them until they are closed.
    waits: HashSet<TunnelName>,
    queue: VecDeque<Change>,
    unanswered: HashMap<u64, (Change, Instant)>,
    next_id: u64,
}

/// One message of changes.
#[derive(Clone, Debug)]
enum Change {
    Open(Vec<TunnelConfig>),
    Update(Vec<TunnelConfig>),
    Close(Vec<TunnelName>),
}

impl Tunnels {
    /// Where visitors reach each tunnel.
    pub(super) fn public(&self) -> impl Iterator<Item = (&TunnelName, &Vec<PublicAddress>)> {
        self.open.iter().map(|(name, (_, public))| (name, public))
    }

    /// What is said of a tunnel, if it is open.
    pub(super) fn live(&self, name: &TunnelName) -> Option<LiveTunnel> {
        self.open.get(name).map(|(tunnel, public)| live(tunnel, public))
    }

    /// Takes down that `tunnel` is open.
    pub(super) fn opened(&mut self, tunnel: TunnelConfig, public: Vec<PublicAddress>) {
        self.waits.remove(&tunnel.name);
        self.open.insert(tunnel.name.clone(), (tunnel, public));
    }

    /// Whether the relay has this tunnel from us.
    pub(super) fn has(&self, name: &TunnelName) -> bool {
        self.open.contains_key(name)
    }

    /// Takes down that `tunnel` was refused.
    pub(super) fn refused(&mut self, tunnel: TunnelConfig, refusal: Refusal) -> Event {
        let name = tunnel.name.clone();
        let event = match refusal.waits_for_records() {
            true => Event::Waiting(name.clone(), refusal.clone()),
            false => Event::Refused(name.clone(), refusal.to_string()),
        };
        match refusal.waits_for_records() {
            true => drop(self.waits.insert(name.clone())),
            false => drop(self.waits.remove(&name)),
        }
        self.refused.insert(name, (tunnel, refusal));
        event
    }

    /// The tunnels that wait for somebody to make a record.
    pub(super) fn waiting(&self) -> impl Iterator<Item = Event> {
        let waiting = self.refused.iter().filter(|(_, (_, why))| why.waits_for_records());
        waiting.map(|(name, (_, why))| Event::Waiting(name.clone(), why.clone()))
    }

    /// Whether every message has been answered, and none is to be sent.
    pub(super) fn is_settled(&self) -> bool {
        self.queue.is_empty() && self.unanswered.is_empty()
    }

    /// Why the relay has refused one of the tunnels, if it has. Those that wait are another matter.
    pub(super) fn refusal(&self) -> Option<&Refusal> {
        let mut refusals = self.refused.values().map(|(_, refusal)| refusal);
        refusals.find(|refusal| !refusal.waits_for_records())
    }

    /// Whether the relay has refused a tunnel for a reason that may pass.
    pub(super) fn may_try_again(&self) -> bool {
        self.refused.values().any(|(_, refusal)| may_pass(refusal))
    }

    /// Forgets refusals that may pass.
    pub(super) fn try_again(&mut self) {
        self.refused.retain(|_, (_, refusal)| !may_pass(refusal));
    }

    /// Works out what to change so that the session has the tunnels in `wanted`. Only when it is
    /// [settled](Self::is_settled). What has other entrances is closed and opened anew.
    pub(super) fn plan(&mut self, wanted: &[TunnelConfig]) {
        let names: HashSet<&TunnelName> = wanted.iter().map(|tunnel| &tunnel.name).collect();
        self.refused.retain(|name, (refused, _)| {
            wanted.iter().any(|tunnel| tunnel.name == *name && tunnel == refused)
        });
        let had = self.open.keys().chain(&self.waits);
        let mut close: Vec<TunnelName> =
            had.filter(|name| !names.contains(name)).cloned().collect();
        let (mut open, mut update) = (Vec::new(), Vec::new());
        for tunnel in wanted {
            match self.open.get(&tunnel.name) {
                Some((current, _)) if current == tunnel => (),
                _ if self.refused.contains_key(&tunnel.name) => (),
                Some((current, _)) if current.has_entrances_of(tunnel) => {
                    update.push(tunnel.clone());
                }
                Some(_) => {
                    close.push(tunnel.name.clone());
                    open.push(tunnel.clone());
                }
                None => open.push(tunnel.clone()),
            }
        }
        self.queue.extend(close.chunks(PAGE).map(|names| Change::Close(names.to_vec())));
        self.queue.extend(pages(&update).map(Change::Update));
        self.queue.extend(pages(&open).map(Change::Open));
    }

    /// How long the relay has owed an answer.
    pub(super) fn unanswered_for(&self) -> Duration {
        let times = self.unanswered.values().map(|(_, asked)| asked.elapsed());
        times.max().unwrap_or_default()
    }

    /// The next message to send, with the tunnels whose local service it changes. It says that
    /// those in `unhealthy` are not healthy.
    pub(super) fn next(
        &mut self,
        unhealthy: &HashSet<TunnelName>,
    ) -> Option<(FromClient, Vec<TunnelConfig>)> {
        if self.unanswered.len() >= MOST_UNANSWERED {
            return None;
        }
        let change = self.queue.pop_front()?;
        let id = self.next_id;
        self.next_id += 1;
        self.unanswered.insert(id, (change.clone(), Instant::now()));
        let request =
            |tunnel: &TunnelConfig| request(tunnel, None, !unhealthy.contains(&tunnel.name));
        Some(match change {
            Change::Open(tunnels) => {
                let requests = tunnels.iter().map(request).collect();
                (FromClient::Open { id, tunnels: requests }, tunnels)
            }
            Change::Update(tunnels) => {
                let requests = tunnels.iter().map(request).collect();
                (FromClient::Update { id, tunnels: requests }, tunnels)
            }
            Change::Close(names) => (FromClient::Close { id, tunnels: names }, Vec::new()),
        })
    }

    /// Takes the answer to a message. `None`: nobody has asked, or for something else.
    pub(super) fn answered(&mut self, id: u64, answers: Vec<TunnelAnswer>) -> Option<Vec<Event>> {
        let (asked, _) = self.unanswered.remove(&id)?;
        let names: Vec<&TunnelName> = match &asked {
            Change::Open(tunnels) | Change::Update(tunnels) => {
                tunnels.iter().map(|tunnel| &tunnel.name).collect()
            }
            Change::Close(names) => names.iter().collect(),
        };
        if !names.into_iter().eq(answers.iter().map(|answer| &answer.name)) {
            return None;
        }
        Some(match asked {
            Change::Open(tunnels) | Change::Update(tunnels) => {
                let answered = tunnels.into_iter().zip(answers);
                let events = answered.map(|(tunnel, answer)| self.became(tunnel, answer));
                return events.collect();
            }
            Change::Close(names) => {
                for name in &names {
                    self.open.remove(name);
                    self.waits.remove(name);
                }
                names.into_iter().map(Event::Closed).collect()
            }
        })
    }

    /// The relay has closed a tunnel. `None`: it was not open.
    pub(super) fn closed_by_relay(&mut self, name: &TunnelName, refusal: Refusal) -> Option<Event> {
        let (tunnel, _) = self.open.remove(name)?;
        Some(self.refused(tunnel, refusal))
    }

    /// `None`: that is no answer to such a question.
    fn became(&mut self, tunnel: TunnelConfig, answer: TunnelAnswer) -> Option<Event> {
        Some(match answer.outcome {
            TunnelOutcome::Open { public } if public.len() == tunnel.addresses() => {
                let live = live(&tunnel, &public);
                self.opened(tunnel, public);
                Event::Live(live)
            }
            TunnelOutcome::Open { .. } | TunnelOutcome::Closed => return None,
            TunnelOutcome::Refused(refusal) => self.refused(tunnel, refusal),
        })
    }
}

/// What the relay is asked for a tunnel, which was at `before` and whose local service is healthy
/// or not.
pub(crate) fn request(
    tunnel: &TunnelConfig,
    before: Option<&Vec<PublicAddress>>,
    healthy: bool,
) -> TunnelRequest {
    let prefer = before.into_iter().flatten().find_map(PublicAddress::port);
    let mut local = tunnel.target().to_string();
    local.truncate(local.floor_char_boundary(MAX_LOCAL));
    TunnelRequest {
        name: tunnel.name.clone(),
        entrances: tunnel.entrances(prefer),
        local,
        withdraw: tunnel.check.as_ref().is_some_and(|check| check.withdraw),
        healthy,
        destination: tunnel.proxy().is_some(),
        rules: tunnel.rules.clone(),
        http: tunnel.http().cloned(),
    }
}

/// Whether a tunnel may be had later. One that is at another port may only wait for the other
/// connections of this client to give up that port.
pub(crate) fn may_pass(refusal: &Refusal) -> bool {
    refusal.retry || refusal.code == RefusalCode::PortMismatch
}

/// What is said of a tunnel that is open.
pub(crate) fn live(tunnel: &TunnelConfig, public: &[PublicAddress]) -> LiveTunnel {
    LiveTunnel {
        name: tunnel.name.clone(),
        public: public.to_vec(),
        local: tunnel.target().to_string(),
    }
}

fn pages(mut tunnels: &[TunnelConfig]) -> impl Iterator<Item = Vec<TunnelConfig>> {
    std::iter::from_fn(move || {
        let requests: Vec<_> =
            tunnels.iter().take(PAGE).map(|tunnel| request(tunnel, None, true)).collect();
        let (first, rest) = tunnels.split_at(page(&requests, PAGE_BYTES));
        tunnels = rest;
        (!first.is_empty()).then(|| first.to_vec())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tunnels(texts: &[&str]) -> Vec<TunnelConfig> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// A session that has these tunnels.
    fn with(open: &[&str]) -> Tunnels {
        let mut tunnels = Tunnels::default();
        for tunnel in self::tunnels(open) {
            tunnels.opened(tunnel, vec!["tcp://relay:20000".parse().unwrap()]);
        }
        tunnels
    }

    /// Answers all messages with yes, and returns what they were.
    fn carried_out(session: &mut Tunnels) -> Vec<String> {
        let mut sent = Vec::new();
        while let Some((message, _)) = session.next(&HashSet::new()) {
            let (text, id, names, outcome) = match message {
                FromClient::Open { id, tunnels } => {
                    let public = vec!["tcp://relay:20001".parse().unwrap()];
                    ("open", id, names(tunnels), TunnelOutcome::Open { public })
                }
                FromClient::Update { id, tunnels } => {
                    let public = vec!["tcp://relay:20000".parse().unwrap()];
                    ("update", id, names(tunnels), TunnelOutcome::Open { public })
                }
                FromClient::Close { id, tunnels } => ("close", id, tunnels, TunnelOutcome::Closed),
                other => panic!("{other:?}"),
            };
            let of = names.iter().map(TunnelName::to_string).collect::<Vec<_>>().join(" ");
            sent.push(format!("{text} {of}"));
            let answer = |name| TunnelAnswer { name, outcome: outcome.clone() };
            session.answered(id, names.into_iter().map(answer).collect()).expect("an answer");
        }
        assert!(session.is_settled());
        sent
    }

    fn names(requests: Vec<TunnelRequest>) -> Vec<TunnelName> {
        requests.into_iter().map(|request| request.name).collect()
    }

    #[test]
    fn only_what_differs_is_asked_for() {
        let mut session = with(&["a=1", "b=2", "c=3?port=20003", "d=4"]);
        session.plan(&tunnels(&["a=1", "b=22", "c=3?port=20004", "e=5"]));
        let mut sent = carried_out(&mut session);
        // Those that are closed have no order.
        assert!(["close c d", "close d c"].contains(&sent.remove(0).as_str()));
        assert_eq!(sent, ["update b", "open c e"]);
        session.plan(&tunnels(&["a=1", "b=22", "c=3?port=20004", "e=5"]));
        assert!(session.is_settled(), "nothing differs any more");
    }

    #[test]
    fn two_thousand_tunnels_go_in_pages() {
        let many: Vec<_> = (0..2000).map(|n| format!("t{n}={}", n + 1)).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        let mut session = with(&[]);
        session.plan(&tunnels(&many));
        assert_eq!(carried_out(&mut session).len(), 2000_usize.div_ceil(PAGE));
        assert_eq!(session.open.len(), 2000);
    }

    #[test]
    fn no_more_than_a_few_messages_wait_for_an_answer() {
        let many: Vec<_> = (0..2000).map(|n| format!("t{n}={}", n + 1)).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        let mut session = with(&[]);
        session.plan(&tunnels(&many));
        let sent = std::iter::from_fn(|| session.next(&HashSet::new())).count();
        assert_eq!(sent, MOST_UNANSWERED);
        assert!(!session.is_settled());
    }

    #[test]
    fn what_was_refused_is_asked_for_again_when_it_has_changed_or_the_time_has_come() {
        let mut session = with(&[]);
        let refuse = |session: &mut Tunnels, code| {
            let (message, _) = session.next(&HashSet::new()).expect("a message");
            let FromClient::Open { id, tunnels } = message else { panic!("{message:?}") };
            let refusal = Refusal::new(code, "no");
            let answer =
                |name| TunnelAnswer { name, outcome: TunnelOutcome::Refused(refusal.clone()) };
            session.answered(id, names(tunnels).into_iter().map(answer).collect()).expect("asked")
        };
        use shared::control::protocol::RefusalCode::{PortNotAllowed, PortTaken};
        session.plan(&tunnels(&["a=1?port=1"]));
        assert!(matches!(refuse(&mut session, PortNotAllowed)[..], [Event::Refused(..)]));
        assert!(!session.may_try_again());
        session.plan(&tunnels(&["a=1?port=1"]));
        assert!(session.is_settled());

        session.plan(&tunnels(&["a=1?port=2"]));
        refuse(&mut session, PortTaken);
        assert!(session.may_try_again());
        session.plan(&tunnels(&["a=1?port=2"]));
        assert!(session.is_settled());
        session.try_again();
        session.plan(&tunnels(&["a=1?port=2"]));
        assert_eq!(carried_out(&mut session), ["open a"]);
    }

    #[test]
    fn a_tunnel_that_waits_for_a_record_keeps_no_other_from_being_opened() {
        let mut session = with(&[]);
        let [tunnel] = <[_; 1]>::try_from(tunnels(&["a=http://1?host=a.example"])).unwrap();
        let unproven = Refusal::new(RefusalCode::HostNotProven, "make a record");
        let event = session.refused(tunnel.clone(), unproven.clone());
        assert_eq!(event, Event::Waiting(tunnel.name.clone(), unproven));
        assert_eq!(session.waiting().collect::<Vec<_>>(), [event]);
        assert!(session.refusal().is_none() && session.may_try_again());
        let taken = Refusal::new(RefusalCode::HostTaken, "somebody else has it");
        let event = session.refused(tunnel, taken.clone());
        assert!(matches!(event, Event::Refused(..)));
        assert_eq!((session.waiting().count(), session.refusal()), (0, Some(&taken)));
    }

    #[test]
    fn a_tunnel_that_waits_and_is_not_wanted_any_more_is_closed_once() {
        let mut session = with(&[]);
        let wanted = tunnels(&["a=http://1?host=a.example", "b=http://1?host=b.example"]);
        for tunnel in &wanted {
            let unproven = Refusal::new(RefusalCode::HostNotProven, "make a record");
            session.refused(tunnel.clone(), unproven);
        }
        session.plan(&wanted);
        assert!(session.is_settled(), "nothing is asked for again yet");
        session.plan(&wanted[1..]);
        assert_eq!(carried_out(&mut session), ["close a"]);
        session.plan(&wanted[1..]);
        assert!(session.is_settled());
    }

    #[test]
    fn an_answer_that_nobody_asked_for_is_none() {
        let mut session = with(&[]);
        assert_eq!(session.answered(7, Vec::new()), None);
        session.plan(&tunnels(&["a=1"]));
        session.next(&HashSet::new()).expect("a message");
        let name = "b".parse().unwrap();
        let other = TunnelAnswer { name, outcome: TunnelOutcome::Closed };
        assert_eq!(session.answered(0, vec![other]), None);
    }

    #[test]
    fn a_tunnel_has_as_many_addresses_as_it_asked_for_hosts() {
        for (hosts, are_right) in [(1, false), (2, true), (3, false)] {
            let mut session = with(&[]);
            session.plan(&tunnels(&["a=http://1?host=a.example&host=b.example"]));
            let (message, _) = session.next(&HashSet::new()).expect("a message");
            let FromClient::Open { id, tunnels } = message else { panic!("{message:?}") };
            let public = vec!["https://a.example".parse().unwrap(); hosts];
            let outcome = TunnelOutcome::Open { public };
            let answer = |name| TunnelAnswer { name, outcome: outcome.clone() };
            let events = session.answered(id, names(tunnels).into_iter().map(answer).collect());
            let is_live = matches!(events.as_deref(), Some([Event::Live(_)]));
            assert_eq!((is_live, events.is_some()), (are_right, are_right), "{hosts}");
        }
    }

    #[test]
    fn a_change_that_was_refused_is_not_asked_for_again_at_once() {
        let mut session = with(&["a=1"]);
        session.plan(&tunnels(&["a=2"]));
        let (message, _) = session.next(&HashSet::new()).expect("a message");
        let FromClient::Update { id, tunnels: asked } = message else { panic!("{message:?}") };
        let refusal = Refusal::new(RefusalCode::BadRequest, "no");
        let answer = |name| TunnelAnswer { name, outcome: TunnelOutcome::Refused(refusal.clone()) };
        session.answered(id, names(asked).into_iter().map(answer).collect()).expect("asked");
        session.plan(&tunnels(&["a=2"]));
        assert!(session.is_settled());
        session.plan(&tunnels(&["a=3"]));
        assert_eq!(carried_out(&mut session), ["update a"]);
    }
}
