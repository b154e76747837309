use super::*;

#[test]
fn every_core_and_process_hashes_alike() {
    let mut scene = Scene::new(&[1; 10]);
    let owners = scene.owners(5);
    let addr = Addr::Tcp(([10, 0, 0, 1], 1).into());
    // Known values: another process has to come to the same.
    assert_eq!(endpoint_id(&addr, "origin"), KNOWN_ID);
    assert_eq!(owners, KNOWN_OWNERS);
    scene.roster = Roster::new(CoreIndex(0));
    scene.endpoints.reverse();
    scene.sort();
    let reversed = scene.owners(5);
    let back = reversed.iter().map(|at| 9 - at).collect::<Vec<_>>();
    assert_eq!(back, KNOWN_OWNERS);
}

const KNOWN_ID: u64 = 14_753_337_707_621_934_559;
const KNOWN_OWNERS: [usize; 5] = [0, 5, 4, 0, 4];

#[test]
fn an_endpoint_that_fails_moves_its_own_keys_only() {
    let mut scene = Scene::new(&[1; 20]);
    let before = scene.owners(20_000);
    scene.set_health(7, Health::Bad);
    scene.sort();
    let without = scene.owners(20_000);
    let mut heirs = [0; 20];
    for (was, is) in before.iter().zip(&without) {
        match was {
            7 => heirs[*is] += 1,
            _ => assert_eq!(was, is),
        }
    }
    // Its keys go to all the others.
    assert_eq!(heirs.iter().filter(|count| **count > 0).count(), 19);
    scene.set_health(7, Health::Good);
    scene.sort();
    assert_eq!(scene.owners(20_000), before);
}

#[test]
fn an_endpoint_that_goes_moves_its_own_keys_only() {
    let mut scene = Scene::new(&[1; 20]);
    let before = scene.owners(20_000);
    let gone = scene.endpoints.remove(7);
    scene.sort();
    for (was, is) in before.iter().zip(scene.owners(20_000)) {
        assert!(*was == 7 || was - usize::from(*was > 7) == is);
    }
    scene.endpoints.insert(7, gone);
    scene.sort();
    assert_eq!(scene.owners(20_000), before);
}

#[test]
fn a_ring_meets_weights() {
    for (weights, off_max) in [(vec![1; 10], 0.15), (vec![1, 2, 3, 4, 10], 0.15)] {
        let mut scene = Scene::new(&weights);
        let total: u32 = weights.iter().sum();
        let counts = counts(&scene.owners(100_000), weights.len());
        for (count, weight) in counts.iter().zip(&weights) {
            let expected = 100_000.0 * f64::from(*weight) / f64::from(total);
            let off = (*count as f64 / expected - 1.0).abs();
            assert!(off < off_max, "{counts:?} of {weights:?}");
        }
    }
}

#[test]
fn a_bounded_load_is_kept() {
    for weights in [vec![1; 10], vec![1, 1, 2, 4, 8]] {
        let total = f64::from(weights.iter().sum::<u32>());
        let mut scene = Scene::new(&weights);
        for held in 0..1_000 {
            // Most of the requests have one of three keys.
            let key = mix(if held % 10 < 7 { held % 3 } else { held });
            let at = scene.hashed(key, Some(1.25));
            scene.active(at).add(1);
            let mean = (held + 1) as f64 / total;
            let bound = (1.25 * mean * f64::from(weights[at])).ceil();
            assert!(scene.active(at).value() as f64 <= bound);
        }
    }
}

#[test]
fn a_busy_endpoints_keys_go_on_to_the_same_next_one() {
    let mut scene = Scene::new(&[1; 10]);
    let owner = scene.hashed(99, Some(2.0));
    scene.active(owner).add(100);
    let next = scene.hashed(99, Some(2.0));
    assert_ne!(next, owner);
    scene.set_health(owner, Health::Bad);
    scene.sort();
    assert_eq!(scene.hashed(99, None), next);
}

#[test]
fn keys_find_the_few_that_are_left_of_many() {
    let mut scene = Scene::new(&[1; 300]);
    scene.policy.panic_below = 0.0;
    for at in 0..298 {
        scene.set_health(at, Health::Bad);
    }
    scene.sort();
    let counts = counts(&scene.owners(1_000), 300);
    assert_eq!(counts[298] + counts[299], 1_000);
    assert!(counts[298].min(counts[299]) > 300, "{counts:?}");
}

#[test]
fn a_ring_is_built_before_cores_need_it() {
    let mut scene = Scene::new(&[1, 2, 3]);
    scene.state.ring.prepare(&scene.endpoints);
    assert!(!scene.state.ring.is_built(), "nobody wants it");
    scene.state.ring.want();
    scene.state.ring.prepare(&scene.endpoints);
    assert!(scene.state.ring.is_built());
    let owners = scene.owners(100);
    let known: Vec<_> = scene
        .endpoints
        .iter()
        .map(|one| (endpoint_id(&one.addr, &one.authority), one.weight))
        .collect();
    let (first, again) = (scene.state.ring.of(&known), scene.state.ring.of(&known));
    assert!(
        Arc::ptr_eq(&first, &again),
        "every core has the one that was built"
    );
    // A core that still has the former endpoints leaves the ring of the new ones to the others.
    let former = scene.state.ring.of(&known[..2]);
    assert!(!Arc::ptr_eq(&first, &former));
    assert!(Arc::ptr_eq(&first, &scene.state.ring.of(&known)));
    assert_eq!(owners, scene.owners(100));
}
