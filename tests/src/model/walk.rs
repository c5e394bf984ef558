//! Walks through the model at random, far beyond what can be visited whole: reproducible from a seed, and what is found is
//! shortened to the steps that matter.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use highwater_env::sim::SimRandom;
use stateright::{Expectation, Model};

use super::run::Explored;
use super::state::{Bounds, World};
use super::step::{Action, Replication};

/// Steps of one walk.
const STEPS_MAX: usize = 160;

/// Walks from seed `first_seed` on until `elapsed` says that it is time, or something is broken.
pub fn walk(bounds: Bounds, first_seed: u64, mut is_over: impl FnMut() -> bool) -> Explored {
    let model = Replication { bounds, expired: Arc::new(AtomicBool::new(false)) };
    let mut seen: HashSet<u64, BuildHasherDefault<DefaultHasher>> = HashSet::default();
    let mut explored = Explored::nothing();
    let mut unreached: Vec<&'static str> = model
        .properties()
        .iter()
        .filter(|property| property.expectation == Expectation::Sometimes)
        .map(|property| property.name)
        .collect();
    for seed in first_seed.. {
        if is_over() {
            break;
        }
        let mut visit = |world: &World| {
            seen.insert(fingerprint(world));
            let properties = model.properties();
            let reached = |name: &&'static str| {
                properties
                    .iter()
                    .any(|property| property.name == *name && (property.condition)(&model, world))
            };
            unreached.retain(|name| !reached(name));
        };
        let (steps, broken) = one_walk(&model, seed, &mut visit);
        explored.steps += steps.len();
        explored.depth = explored.depth.max(steps.len());
        if let Some(broken) = broken {
            let short = shorten(&model, steps, &broken);
            let steps: Vec<String> = short.iter().map(|step| format!("{step:?}")).collect();
            explored.counterexamples.push((format!("{broken} (seed {seed})"), steps.join("\n  ")));
            break;
        }
    }
    explored.unique_states = seen.len();
    explored.unreached = unreached.into_iter().map(str::to_owned).collect();
    explored
}

fn one_walk(model: &Replication, seed: u64, visit: &mut impl FnMut(&World)) -> (Vec<Action>, Option<String>) {
    let random = SimRandom::new(seed);
    let mut world = model.init_states().remove(0);
    let (mut steps, mut actions) = (Vec::new(), Vec::new());
    // Some steps turn out to change nothing.
    for _ in 0..2 * STEPS_MAX {
        actions.clear();
        model.actions(&world, &mut actions);
        // Disturbances are rare, or nothing else would ever happen.
        let calm = random.below(8) != 0;
        if calm && actions.iter().any(|action| !action.disturbs()) {
            actions.retain(|action| !action.disturbs());
        }
        let Ok(count) = u64::try_from(actions.len()) else { break };
        if count == 0 {
            break;
        }
        let action = actions[usize::try_from(random.below(count)).expect("an index")];
        steps.push(action);
        let Some(next) = model.next_state(&world, action) else {
            steps.pop();
            continue;
        };
        world = next;
        visit(&world);
        if let Some(broken) = broken(model, &world) {
            return (steps, Some(broken));
        }
    }
    (steps, None)
}

fn broken(model: &Replication, world: &World) -> Option<String> {
    let mut properties = model.properties().into_iter();
    let broken = properties
        .find(|property| property.expectation == Expectation::Always && !(property.condition)(model, world));
    broken.map(|property| match world.broken {
        Some(what) => format!("{}: {what}", property.name),
        None => property.name.to_owned(),
    })
}

/// Leaves out every step without which the same thing still breaks.
fn shorten(model: &Replication, mut steps: Vec<Action>, what: &str) -> Vec<Action> {
    let still = |steps: &[Action]| {
        let mut world = model.init_states().remove(0);
        for step in steps {
            let mut actions = Vec::new();
            model.actions(&world, &mut actions);
            if !actions.contains(step) {
                return false;
            }
            world = model.next_state(&world, *step).unwrap_or(world);
        }
        broken(model, &world).as_deref() == Some(what)
    };
    let mut shorter = true;
    while shorter {
        shorter = false;
        for at in (0..steps.len()).rev() {
            let mut fewer = steps.clone();
            fewer.remove(at);
            if still(&fewer) {
                steps = fewer;
                shorter = true;
            }
        }
    }
    steps
}

fn fingerprint(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

/// Runs [`walk`] for so long.
#[expect(clippy::disallowed_methods, reason = "the test bench measures its own time")]
pub fn walk_for(bounds: Bounds, first_seed: u64, time: Duration) -> Explored {
    let began = std::time::Instant::now();
    walk(bounds, first_seed, || began.elapsed() >= time)
}
