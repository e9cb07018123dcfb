//! What a name means to an instance: pure.

use std::net::Ipv4Addr;

use roost_allocation::FirewallPlan;
use roost_types::{Name, prefix};

use super::message::{A, ANY, Code, PTR, Question, Record};

/// The domain of everything Roost gives a name.
pub const DOMAIN: &str = "roost.internal";

/// What becomes of a question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Answered here.
    Answer(Code, Option<Record>),
    /// Not ours: others are asked.
    Forward,
}

const NO_NAME: Verdict = Verdict::Answer(Code::NoName, None);
const NO_DATA: Verdict = Verdict::Answer(Code::Ok, None);

/// Judges a question that came from `source`; none when no instance has that address.
#[must_use]
pub fn judge(plan: &FirewallPlan, source: Ipv4Addr, question: &Question<'_>) -> Option<Verdict> {
    let project = &plan.instances.iter().find(|instance| instance.address == source)?.project;
    let asked = Asked { plan, project, kind: question.kind };
    let name = question.name.as_str();
    let below = name.strip_suffix(DOMAIN).filter(|rest| rest.is_empty() || rest.ends_with('.'));
    if let Some(rest) = below {
        return Some(asked.in_domain(rest.trim_end_matches('.')));
    }
    if let Some(reversed) = name.strip_suffix(".in-addr.arpa") {
        return Some(asked.by_address(reversed));
    }
    Some(match name.split_once('.') {
        None if name.is_empty() => Verdict::Forward,
        None => asked.by_name(name).unwrap_or(NO_NAME),
        // Might as well be a name of the Internet.
        Some((name, of)) if of == project.as_str() => asked.by_name(name).unwrap_or(Verdict::Forward),
        Some(_) => Verdict::Forward,
    })
}

/// A question of an instance of a project.
struct Asked<'a> {
    plan: &'a FirewallPlan,
    project: &'a Name,
    kind: u16,
}

impl Asked<'_> {
    fn in_domain(&self, rest: &str) -> Verdict {
        match rest.split_once('.') {
            None if rest.is_empty() || rest == self.project.as_str() => NO_DATA,
            Some((name, project)) if project == self.project.as_str() => self.by_name(name).unwrap_or(NO_NAME),
            // Whether other projects have such a name is not told.
            None | Some(_) => NO_NAME,
        }
    }

    /// None when the project has no instance of this name.
    fn by_name(&self, name: &str) -> Option<Verdict> {
        let address = self.address_of(&name.parse().ok()?)?;
        Some(match self.kind {
            A | ANY => Verdict::Answer(Code::Ok, Some(Record::Address(address))),
            _ => NO_DATA,
        })
    }

    /// What the controller told counts; before it has told anything, what runs here.
    fn address_of(&self, name: &Name) -> Option<Ipv4Addr> {
        let told = self.plan.names.projects.get(self.project).and_then(|names| names.get(name)).copied();
        let here = || self.plan.instances.iter().find(|one| one.name == *name && one.project == *self.project);
        told.or_else(|| here().map(|instance| instance.address))
    }

    fn name_of(&self, address: Ipv4Addr) -> Option<&Name> {
        let told = self.plan.names.projects.get(self.project).into_iter().flatten();
        let told = told.filter(|(_, other)| **other == address).map(|(name, _)| name).next();
        let here = || self.plan.instances.iter().find(|one| one.address == address && one.project == *self.project);
        told.or_else(|| here().map(|instance| &instance.name))
    }

    fn by_address(&self, reversed: &str) -> Verdict {
        let Some(address) = address(reversed).filter(|address| self.is_instances(*address)) else {
            return Verdict::Forward;
        };
        match (self.name_of(address), self.kind) {
            (None, _) => NO_NAME,
            (Some(name), PTR | ANY) => {
                let name = format!("{name}.{}.{DOMAIN}", self.project);
                Verdict::Answer(Code::Ok, Some(Record::Name(name)))
            }
            (Some(_), _) => NO_DATA,
        }
    }

    /// The address is one of an instance network.
    fn is_instances(&self, address: Ipv4Addr) -> bool {
        let network = &self.plan.network;
        let peers = network.routes.iter().map(|route| (route.network, route.prefix_len));
        let mut networks = peers.chain([(network.gateway, network.prefix_len)]);
        networks.any(|(base, length)| prefix::are_together(base, address, length))
    }
}

/// The address in `4.3.2.1` of `4.3.2.1.in-addr.arpa`.
fn address(reversed: &str) -> Option<Ipv4Addr> {
    reversed.parse::<Ipv4Addr>().ok().map(|address| Ipv4Addr::from_bits(address.to_bits().swap_bytes()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use roost_allocation::FirewallInstance;
    use roost_types::sync::{NameTable, PeerRoute};

    use super::super::message::{read, tests::asked};
    use super::*;
    use crate::testing::{allocation, network};

    fn plan() -> FirewallPlan {
        let mut network = network();
        let peer = PeerRoute { network: Ipv4Addr::new(10, 77, 2, 0), prefix_len: 24, via: Ipv4Addr::new(10, 0, 0, 12) };
        network.routes.push(peer);
        let instance = |n: u8, name: &str, project: &str| FirewallInstance {
            id: allocation(n),
            name: name.parse().unwrap(),
            project: project.parse().unwrap(),
            address: Ipv4Addr::new(10, 77, 1, n),
            publish: vec![],
        };
        let told = |name: &str, at: Ipv4Addr| (name.parse::<Name>().unwrap(), at);
        let shop = BTreeMap::from([
            told("web", Ipv4Addr::new(10, 77, 1, 11)),
            told("db", Ipv4Addr::new(10, 77, 2, 5)),
            told("com", Ipv4Addr::new(10, 77, 2, 6)),
        ]);
        let names = NameTable { generation: 7, projects: BTreeMap::from([("shop".parse().unwrap(), shop)]) };
        let instances = vec![instance(11, "web", "shop"), instance(12, "web", "blog"), instance(13, "new", "shop")];
        FirewallPlan { network, instances, names: Arc::new(names) }
    }

    fn verdict(source: u8, name: &str, kind: u16) -> Option<Verdict> {
        let packet = asked(name, kind);
        judge(&plan(), Ipv4Addr::new(10, 77, 1, source), &read(&packet).unwrap())
    }

    #[test]
    fn a_name_means_the_instance_of_the_askers_own_project() {
        let at = |c, d| Some(Verdict::Answer(Code::Ok, Some(Record::Address(Ipv4Addr::new(10, 77, c, d)))));
        let ptr = |name: &str| Some(Verdict::Answer(Code::Ok, Some(Record::Name(name.to_owned()))));
        let (none, empty, others) = (Some(NO_NAME), Some(NO_DATA), Some(Verdict::Forward));
        let cases: &[(u8, &str, u16, Option<Verdict>)] = &[
            (11, "db", A, at(2, 5)),
            (11, "DB.Shop", A, at(2, 5)),
            (11, "db.shop.roost.internal", A, at(2, 5)),
            (11, "db", ANY, at(2, 5)),
            (11, "db", 28, empty.clone()),
            (11, "web", A, at(1, 11)),
            (12, "web", A, at(1, 12)),
            (11, "new", A, at(1, 13)),
            (12, "db", A, none.clone()),
            (12, "db.shop.roost.internal", A, none.clone()),
            (11, "web.blog.roost.internal", A, none.clone()),
            (11, "a.db.shop.roost.internal", A, none.clone()),
            (11, "roost.internal", A, empty.clone()),
            (11, "shop.roost.internal", A, empty.clone()),
            (11, "blog.roost.internal", A, none.clone()),
            (11, "notroost.internal", A, others.clone()),
            (11, "nothing", A, none.clone()),
            (11, "example.com", A, others.clone()),
            (11, "db.shop.example.com", A, others.clone()),
            (11, "", 2, others.clone()),
            (11, "5.2.77.10.in-addr.arpa", PTR, ptr("db.shop.roost.internal")),
            (12, "5.2.77.10.in-addr.arpa", PTR, none.clone()),
            (11, "12.1.77.10.in-addr.arpa", PTR, none),
            (11, "5.2.77.10.in-addr.arpa", A, empty),
            (11, "8.8.8.8.in-addr.arpa", PTR, others.clone()),
            (11, "77.10.in-addr.arpa", PTR, others),
            (99, "db", A, None),
        ];
        for (source, name, kind, wanted) in cases {
            assert_eq!(verdict(*source, name, *kind), *wanted, "{source} asks for {name}, type {kind}");
        }
    }
}
