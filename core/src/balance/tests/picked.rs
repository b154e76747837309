use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
struct Member {
    weight: u32,
    priority: u8,
    bad: bool,
    drained: bool,
    broken: bool,
    active: u64,
}

fn member() -> impl Strategy<Value = Member> {
    let flags = (
        any::<bool>(),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.2),
    );
    (0u32..4, 0u8..3, flags, 0u64..4).prop_map(|(weight, priority, flags, active)| Member {
        weight,
        priority,
        bad: flags.0,
        drained: flags.1,
        broken: flags.2,
        active,
    })
}

proptest! {
    #[test]
    fn picks_only_what_may_be_picked(
        members in prop::collection::vec(member(), 0..12),
        algorithm in prop::sample::select(&ALGORITHMS[..]),
        tried in prop::collection::vec(0usize..12, 0..3),
        requests_max in 0u32..4,
        draws in prop::collection::vec(any::<u64>(), 1..20),
    ) {
        let weights: Vec<_> = members.iter().map(|one| one.weight).collect();
        let mut scene = Scene::new(&weights);
        for (at, one) in members.iter().enumerate() {
            scene.endpoints[at].priority = one.priority;
            if one.bad {
                scene.set_health(at, Health::Bad);
            }
            scene.endpoints[at].state.set_drained(one.drained, START);
            scene.active(at).add(one.active);
        }
        let blocked = |at: usize| members[at].broken.then_some(Moment(u64::MAX));
        let roster = &mut scene.roster;
        roster.sort(&scene.policy, &scene.endpoints, &scene.state, START, blocked);
        let panics = roster.standing().mode == Mode::Panic;
        let may = |at: usize| {
            let one = &members[at];
            one.weight > 0 && !one.drained && !one.broken && (!one.bad || panics)
        };
        let has_room = |at: usize| {
            requests_max == 0 || members[at].active < u64::from(requests_max)
        };
        let fresh = |at: usize| !tried.contains(&at);
        let all = 0..members.len();
        for draw in draws {
            let choice = choice(algorithm);
            let ask = Ask {
                hash: draw,
                random: draw,
                tried: &tried,
                requests_max,
                ..ask(&choice, &scene.state)
            };
            match roster.pick(&ask) {
                Some(at) => {
                    prop_assert!(may(at) && has_room(at));
                    let others = all.clone().any(|at| may(at) && has_room(at) && fresh(at));
                    prop_assert!(fresh(at) || !others);
                }
                None => prop_assert!(!all.clone().any(|at| may(at) && has_room(at))),
            }
        }
    }
}
