//! Whom an agent may reach: rules on names and addresses, without any effect.
//!
//! A rule allows; nothing here forbids, but what is never reached: the loopback, addresses of this link, this machine
//! itself, and the addresses by which clouds tell a machine its credentials. What has a private address is reached only when
//! a rule names it. Names are judged twice, as they are asked for and by the addresses that they have.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Names under which clouds serve credentials to the machine.
const METADATA_NAMES: &[&str] = &[
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "instance-data",
    "instance-data.ec2.internal",
    "metadata.azure.internal",
    "metadata.tencentyun.com",
];
/// Addresses of the same that are not on this link: AWS, Alibaba, and the host of an Azure machine.
const METADATA_ADDRESSES: [IpAddr; 4] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
];
/// The longest name that is looked at, in bytes.
const LONGEST_NAME: usize = 253;

/// One rule: whom it allows, and on which port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    peer: Peer,
    // None: any.
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Peer {
    Public,
    Name(String),
    Below(String),
    Range(IpAddr, u8),
}

/// Why a text is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is neither 'public' nor a host name, '*.' and a name, an address, or a range, with or without ':PORT'"
)]
pub struct RuleError {
    text: String,
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let refused = || RuleError { text: text.to_owned() };
        let (peer, port) = split_port(text).ok_or_else(refused)?;
        let peer = if peer == "public" {
            Peer::Public
        } else if let Some(range) = parse_range(peer) {
            range
        } else if let Some(name) = peer.strip_prefix("*.") {
            Peer::Below(parse_name(name).ok_or_else(refused)?)
        } else {
            Peer::Name(parse_name(peer).ok_or_else(refused)?)
        };
        Ok(Self { peer, port })
    }
}

// `[::1]:80`, `::1`, `name:80`, `name`.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((address, Some(port.parse().ok()?))),
            None => rest.is_empty().then_some((address, None)),
        };
    }
    match text.split_once(':') {
        Some((_, rest)) if rest.contains(':') => Some((text, None)),
        Some((peer, port)) => Some((peer, Some(port.parse().ok()?))),
        None => Some((text, None)),
    }
}

fn parse_range(text: &str) -> Option<Peer> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length.parse::<u8>().ok()?)),
        None => (text, None),
    };
    let address = IpAddr::from_str(address).ok()?.to_canonical();
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let length = length.unwrap_or(longest);
    (length <= longest).then_some(Peer::Range(address, length))
}

fn parse_name(text: &str) -> Option<String> {
    let name = text.trim_end_matches('.').to_ascii_lowercase();
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    // What ends in a number is an address in an odd spelling, which resolvers would take for one.
    let is_numeric = name
        .rsplit('.')
        .next()
        .is_some_and(|last| last.starts_with("0x") || last.bytes().all(|byte| byte.is_ascii_digit()));
    (name.len() <= LONGEST_NAME && !is_numeric && name.split('.').all(is_label)).then_some(name)
}

/// The host that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// By name, in lower case and without a dot at its end.
    Name(String),
    /// By address.
    Address(IpAddr),
}

impl Host {
    /// Reads a host as it stands in a URL, an address of version 6 in brackets. `None` when it is neither name nor address.
    pub fn parse(text: &str) -> Option<Self> {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        match IpAddr::from_str(bare) {
            Ok(address) => Some(Self::Address(address.to_canonical())),
            Err(_) => parse_name(bare).map(Self::Name),
        }
    }

    /// Reads a host with or without a port, as both stand in a URL; `usual` is the port of one without.
    pub(super) fn parse_with_port(text: &str, usual: u16) -> Option<(Self, u16)> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (text, usual),
        };
        Some((Self::parse(host)?, port))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => formatter.write_str(name),
            Self::Address(address) => address.fmt(formatter),
        }
    }
}

/// Why somebody is not reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It would be this machine itself.
    #[error("the loopback and the addresses of this machine are closed")]
    Loopback,
    /// It has an address that means something on this link only.
    #[error("addresses of the local link are closed")]
    LinkLocal,
    /// A cloud would give the credentials of the machine away.
    #[error("the metadata of the cloud is closed")]
    Metadata,
    /// It has a private address, and no rule names it.
    #[error("it has a private address, and no rule of the daemon (--egress) names it")]
    Private,
    /// No rule allows it.
    #[error("no rule of the daemon (--egress) allows it")]
    NotListed,
    /// Its addresses cannot be judged.
    #[error("its address is not known here, and no rule of the daemon (--egress) names it")]
    Unknown,
    /// Nobody can be reached under such an address.
    #[error("nobody has such an address")]
    NoPeer,
}

/// All rules of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    rules: Vec<Rule>,
}

impl Rules {
    /// Returns the rules that are written; none at all means `public`.
    pub fn parse<Text: AsRef<str>>(texts: impl IntoIterator<Item = Text>) -> Result<Self, RuleError> {
        let mut rules =
            texts.into_iter().map(|text| text.as_ref().parse()).collect::<Result<Vec<Rule>, _>>()?;
        if rules.is_empty() {
            rules.push(Rule { peer: Peer::Public, port: None });
        }
        Ok(Self { rules })
    }

    /// Adds a host that a run works with, on one port.
    pub fn allow(&mut self, host: &Host, port: u16) {
        let peer = match host {
            Host::Name(name) => Peer::Name(name.clone()),
            Host::Address(address) => Peer::Range(*address, if address.is_ipv4() { 32 } else { 128 }),
        };
        self.rules.push(Rule { peer, port: Some(port) });
    }

    /// Judges a host before its addresses are looked up.
    pub fn judge_host(&self, host: &Host, port: u16) -> Result<(), Refusal> {
        let Host::Name(name) = host else { return Ok(()) };
        if METADATA_NAMES.contains(&name.as_str()) {
            return Err(Refusal::Metadata);
        }
        if name == "localhost" || name.ends_with(".localhost") {
            return Err(Refusal::Loopback);
        }
        // A name that no rule could ever allow is not even looked up: a question to a server of names is an answer to whoever runs it.
        let may_be = |rule: &&Rule| {
            rule.is_for(port) && (matches!(rule.peer, Peer::Public | Peer::Range(..)) || rule.names(host))
        };
        self.rules.iter().find(may_be).map(|_| ()).ok_or(Refusal::NotListed)
    }

    /// Tells whether a rule names the host, whatever its addresses are.
    pub fn name(&self, host: &Host, port: u16) -> bool {
        self.rules.iter().any(|rule| rule.is_for(port) && rule.names(host))
    }

    /// Judges one address of a host; what is connected to is this address and no other.
    pub fn judge_address(&self, host: &Host, address: IpAddr, port: u16) -> Result<(), Refusal> {
        let address = address.to_canonical();
        let class = classify(address);
        if let Class::Never(refusal) = class {
            return Err(refusal);
        }
        let mut is_public_allowed = false;
        for rule in self.rules.iter().filter(|rule| rule.is_for(port)) {
            match &rule.peer {
                Peer::Public => is_public_allowed = true,
                Peer::Range(start, length) if contains(*start, *length, address) => return Ok(()),
                Peer::Name(_) | Peer::Below(_) if rule.names(host) => return Ok(()),
                Peer::Name(_) | Peer::Below(_) | Peer::Range(..) => {}
            }
        }
        match (class, is_public_allowed) {
            (Class::Public, true) => Ok(()),
            (Class::Public, false) => Err(Refusal::NotListed),
            (Class::Private, _) => Err(Refusal::Private),
            (Class::Never(refusal), _) => Err(refusal),
        }
    }
}

impl Rule {
    /// Tells whether the host is what is named or lies in it: the name or one below it, the address or one of the range.
    pub(super) fn covers(&self, host: &Host, port: u16) -> bool {
        self.is_for(port)
            && match (&self.peer, host) {
                (Peer::Name(own) | Peer::Below(own), Host::Name(name)) => {
                    name.strip_suffix(own.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
                }
                (Peer::Range(start, length), Host::Address(address)) => contains(*start, *length, *address),
                _ => false,
            }
    }

    fn is_for(&self, port: u16) -> bool {
        self.port.is_none_or(|own| own == port)
    }

    fn names(&self, host: &Host) -> bool {
        match (&self.peer, host) {
            (Peer::Name(own), Host::Name(name)) => own == name,
            (Peer::Below(own), Host::Name(name)) => {
                name.strip_suffix(own.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            _ => false,
        }
    }
}

fn contains(start: IpAddr, length: u8, address: IpAddr) -> bool {
    let shared = |a: u128, b: u128, width: u8| {
        let rest = u32::from(width - length.min(width));
        (a ^ b).checked_shr(rest).unwrap_or(0) == 0
    };
    match (start, address) {
        (IpAddr::V4(start), IpAddr::V4(address)) => {
            shared(u128::from(start.to_bits()), u128::from(address.to_bits()), 32)
        }
        (IpAddr::V6(start), IpAddr::V6(address)) => shared(start.to_bits(), address.to_bits(), 128),
        _ => false,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Public,
    Private,
    Never(Refusal),
}

fn classify(address: IpAddr) -> Class {
    if METADATA_ADDRESSES.contains(&address) {
        return Class::Never(Refusal::Metadata);
    }
    match address {
        IpAddr::V4(address) => classify_v4(address),
        IpAddr::V6(address) => classify_v6(address),
    }
}

// The registries of special addresses: IANA, after RFC 6890.
fn classify_v4(address: Ipv4Addr) -> Class {
    match address.octets() {
        [0 | 127, ..] => Class::Never(Refusal::Loopback),
        [169, 254, 169, 254] | [169, 254, 170, 2 | 23] => Class::Never(Refusal::Metadata),
        [169, 254, ..] => Class::Never(Refusal::LinkLocal),
        [224..=255, ..] => Class::Never(Refusal::NoPeer),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] | [198, 18..=19, ..] => {
            Class::Private
        }
        [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Class::Private,
        _ => Class::Public,
    }
}

fn classify_v6(address: Ipv6Addr) -> Class {
    let inside = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        classify(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Class::Never(Refusal::Loopback),
        // An address of version 4 in another coat: compatible, translated, tunnelled.
        [0, 0, 0, 0, 0, 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            inside(high, low)
        }
        [0xfe80..=0xfebf, ..] => Class::Never(Refusal::LinkLocal),
        [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] | [0x2001, 0xdb8, ..] => Class::Private,
        // But Teredo, which tunnels to somebody else.
        [high @ 0x2000..=0x3fff, low, ..] if (high, low) != (0x2001, 0) => Class::Public,
        _ => Class::Never(Refusal::NoPeer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(texts: &[&str]) -> Rules {
        Rules::parse(texts).unwrap()
    }

    fn host(text: &str) -> Host {
        Host::parse(text).unwrap()
    }

    fn judge(rules: &Rules, host: &Host, address: IpAddr, port: u16) -> Result<(), Refusal> {
        rules.judge_host(host, port)?;
        rules.judge_address(host, address, port)
    }

    fn judge_text(rules: &Rules, name: &str, address: &str, port: u16) -> Option<Refusal> {
        judge(rules, &host(name), address.parse().unwrap(), port).err()
    }

    #[test]
    fn without_rules_public_addresses_are_reached_and_no_others() {
        let rules = rules(&[]);
        for (address, expected) in [
            ("93.184.215.14", Ok(())),
            ("2606:4700::1111", Ok(())),
            ("127.0.0.1", Err(Refusal::Loopback)),
            ("127.9.9.9", Err(Refusal::Loopback)),
            ("0.0.0.0", Err(Refusal::Loopback)),
            ("::1", Err(Refusal::Loopback)),
            ("::", Err(Refusal::Loopback)),
            ("::ffff:127.0.0.1", Err(Refusal::Loopback)),
            ("::127.0.0.1", Err(Refusal::Loopback)),
            ("64:ff9b::7f00:1", Err(Refusal::Loopback)),
            ("2002:7f00:1::", Err(Refusal::Loopback)),
            ("169.254.169.254", Err(Refusal::Metadata)),
            ("::ffff:169.254.169.254", Err(Refusal::Metadata)),
            ("64:ff9b::a9fe:a9fe", Err(Refusal::Metadata)),
            ("169.254.170.2", Err(Refusal::Metadata)),
            ("100.100.100.200", Err(Refusal::Metadata)),
            ("fd00:ec2::254", Err(Refusal::Metadata)),
            ("169.254.1.1", Err(Refusal::LinkLocal)),
            ("fe80::1", Err(Refusal::LinkLocal)),
            ("10.0.0.1", Err(Refusal::Private)),
            ("172.31.0.1", Err(Refusal::Private)),
            ("192.168.1.1", Err(Refusal::Private)),
            ("100.64.0.1", Err(Refusal::Private)),
            ("fd12::1", Err(Refusal::Private)),
            ("224.0.0.1", Err(Refusal::NoPeer)),
            ("255.255.255.255", Err(Refusal::NoPeer)),
            ("ff02::1", Err(Refusal::NoPeer)),
            ("2001:0:53aa::1", Err(Refusal::NoPeer)),
        ] {
            assert_eq!(judge_text(&rules, "example.com", address, 443), expected.err(), "{address}");
        }
    }

    #[test]
    fn names_of_this_machine_and_of_metadata_are_refused_before_they_are_looked_up() {
        let rules = rules(&["public", "metadata.google.internal", "localhost"]);
        for (name, expected) in [
            ("metadata.google.internal", Refusal::Metadata),
            ("METADATA.google.internal.", Refusal::Metadata),
            ("localhost", Refusal::Loopback),
            ("db.localhost", Refusal::Loopback),
        ] {
            assert_eq!(judge_text(&rules, name, "93.184.215.14", 80), Some(expected), "{name}");
        }
        for odd in ["0x7f000001", "2130706433", "127.1", "a..b", "", "a b", "a/b", "user@host"] {
            assert_eq!(Host::parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_rule_allows_what_it_names_and_nothing_is_opened_that_is_never_reached() {
        let rules = rules(&[
            "forge.example:443",
            "*.corp.example",
            "10.1.0.0/16:5432",
            "169.254.169.254",
            "127.0.0.0/8",
        ]);
        for (host, address, port, expected) in [
            ("forge.example", "10.9.9.9", 443, Ok(())),
            ("forge.example", "10.9.9.9", 22, Err(Refusal::Private)),
            ("forge.example", "127.0.0.1", 443, Err(Refusal::Loopback)),
            ("a.corp.example", "192.168.0.1", 8080, Ok(())),
            ("corp.example", "192.168.0.1", 8080, Err(Refusal::Private)),
            ("evilcorp.example", "192.168.0.1", 8080, Err(Refusal::Private)),
            ("10.1.2.3", "10.1.2.3", 5432, Ok(())),
            ("10.2.2.3", "10.2.2.3", 5432, Err(Refusal::Private)),
            ("93.184.215.14", "93.184.215.14", 443, Err(Refusal::NotListed)),
            ("169.254.169.254", "169.254.169.254", 80, Err(Refusal::Metadata)),
            ("127.0.0.1", "127.0.0.1", 80, Err(Refusal::Loopback)),
        ] {
            assert_eq!(judge_text(&rules, host, address, port), expected.err(), "{host} {address} {port}");
        }
    }

    #[test]
    fn the_host_of_a_workspace_is_allowed_on_its_port() {
        let mut rules = rules(&["public"]);
        rules.allow(&host("git.corp"), 8443);
        assert_eq!(judge_text(&rules, "git.corp", "10.0.0.5", 8443), None);
        assert_eq!(judge_text(&rules, "git.corp", "10.0.0.5", 22), Some(Refusal::Private));
    }

    #[test]
    fn what_is_no_rule_is_told() {
        for text in ["", "a b", "10.0.0.0/33", "host:0x1", "host:70000", "*.", "[::1", "*", "http://host"] {
            let refused = text.parse::<Rule>().unwrap_err().to_string();
            assert!(refused.contains("is neither 'public' nor"), "{text}: {refused}");
        }
        for text in ["public", "public:443", "host", "host:443", "[2606::1]:443", "2606::/16", "*.a.b:1"] {
            assert!(text.parse::<Rule>().is_ok(), "{text}");
        }
    }
}
