//! Whether votes meet the demands: distinct people for places.
//!
//! Never looks at the clock or the configuration: it is told who is in which group.
//! Invariant: one person fills one place, whatever number of groups they are in.

use countersign_policy::verdict::ReviewerDemand;

/// Whether every place of every demand can be filled by a different person.
///
/// `people` holds, for each person who approves, the groups they are in; other groups than the demanded are ignored.
/// A demand for nobody is taken as one for one person: no reviewers must never mean approved.
#[must_use]
pub fn are_met(demands: &[ReviewerDemand], people: &[Vec<String>]) -> bool {
    let wanted: usize = demands.iter().map(|demand| demand.approvals.max(1) as usize).fold(0, usize::saturating_add);
    if wanted == 0 || wanted > people.len() {
        return false;
    }
    let places = places(demands);
    let mut matching = Matching { people, place_of: vec![None; people.len()], places: &places };
    (0..places.len()).all(|place| {
        let mut seen = vec![false; people.len()];
        matching.seat(place, &mut seen)
    })
}

/// The demands that are left when these people have taken as many places as they can, none of more than `most`.
#[must_use]
pub fn left(demands: &[ReviewerDemand], people: &[Vec<String>], most: u32) -> Vec<ReviewerDemand> {
    let bounded: Vec<_> = demands
        .iter()
        .map(|demand| ReviewerDemand { approvals: demand.approvals.min(most), ..demand.clone() })
        .collect();
    let places = places(&bounded);
    let mut matching = Matching { people, place_of: vec![None; people.len()], places: &places };
    let mut left: Vec<ReviewerDemand> = Vec::new();
    for (place, group) in places.iter().enumerate() {
        let mut seen = vec![false; people.len()];
        if matching.seat(place, &mut seen) {
            continue;
        }
        match left.iter_mut().find(|demand| demand.group == *group) {
            Some(demand) => demand.approvals = demand.approvals.saturating_add(1),
            None => left.push(ReviewerDemand { group: (*group).to_owned(), approvals: 1 }),
        }
    }
    left
}

fn places(demands: &[ReviewerDemand]) -> Vec<&str> {
    let of = |demand: &'_ ReviewerDemand| demand.approvals.max(1) as usize;
    demands.iter().flat_map(|demand| std::iter::repeat_n(demand.group.as_str(), of(demand))).collect()
}

/// Groups of `own` that `demands` names, each once.
#[must_use]
pub fn demanded_groups(demands: &[ReviewerDemand], own: &[String]) -> Vec<String> {
    let mut groups: Vec<String> = Vec::new();
    for demand in demands {
        if own.contains(&demand.group) && !groups.contains(&demand.group) {
            groups.push(demand.group.clone());
        }
    }
    groups
}

/// Whether meeting `given` also meets `wanted`, so that an approval made on one set of demands serves the other.
#[must_use]
pub fn covers(given: &[ReviewerDemand], wanted: &[ReviewerDemand]) -> bool {
    wanted.iter().all(|want| given.iter().any(|have| have.group == want.group && have.approvals >= want.approvals))
}

/// Augmenting paths (Kuhn): people sit down, and move to another of their places to make room.
struct Matching<'a> {
    people: &'a [Vec<String>],
    places: &'a [&'a str],
    place_of: Vec<Option<usize>>,
}

impl Matching<'_> {
    fn seat(&mut self, place: usize, seen: &mut [bool]) -> bool {
        for person in 0..self.people.len() {
            if seen[person] || !self.people[person].iter().any(|group| group == self.places[place]) {
                continue;
            }
            seen[person] = true;
            if self.place_of[person].is_none_or(|other| self.seat(other, seen)) {
                self.place_of[person] = Some(place);
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn demands(text: &str) -> Vec<ReviewerDemand> {
        let one = |word: &str| {
            let (group, approvals) = word.split_once('*').unwrap_or((word, "1"));
            ReviewerDemand { group: group.to_owned(), approvals: approvals.parse().unwrap() }
        };
        text.split_whitespace().map(one).collect()
    }

    fn people(text: &str) -> Vec<Vec<String>> {
        text.split_whitespace().map(|person| person.split('+').map(str::to_owned).collect()).collect()
    }

    #[track_caller]
    fn check(wanted: &str, approvers: &str, want: bool) {
        assert_eq!(are_met(&demands(wanted), &people(approvers)), want);
    }

    #[test]
    fn places_are_filled_by_distinct_people() {
        check("dba", "dba", true);
        check("dba", "security", false);
        check("dba", "", false);
        check("dba security", "dba+security", false);
        check("dba security", "dba+security dba", true);
        check("dba security", "dba dba", false);
        check("dba*2", "dba", false);
        check("dba*2", "dba dba", true);
        check("dba*2 security", "dba+security dba dba", true);
        check("dba*2 security", "dba+security dba", false);
        check("a b c", "a+b a+b c", true);
        check("a b c", "a+b+c a a", false);
        check("dba dba", "dba", false);
    }

    #[track_caller]
    fn check_left(wanted: &str, approvers: &str, want: &str) {
        assert_eq!(left(&demands(wanted), &people(approvers), 100), demands(want), "{wanted} by {approvers}");
    }

    #[test]
    fn what_is_left_is_what_nobody_can_fill() {
        check_left("dba security", "", "dba security");
        check_left("dba security", "dba", "security");
        check_left("dba security", "dba+security", "security");
        check_left("dba security", "dba+security dba", "");
        check_left("dba*3", "dba", "dba*2");
        check_left("dba*4294967295", "", "dba*100");
        check_left("dba*0", "", "dba");
    }

    #[test]
    fn no_demand_is_never_met() {
        check("", "dba", false);
        check("dba*0", "", false);
        check("dba*0", "dba", true);
        check("dba*4294967295", "dba dba", false);
    }

    #[test]
    fn an_approval_serves_only_what_it_covers() {
        assert!(covers(&demands("dba*2 security"), &demands("dba")));
        assert!(!covers(&demands("dba"), &demands("dba*2")));
        assert!(!covers(&demands("dba"), &demands("dba security")));
    }

    /// Tries every assignment.
    fn brute_force(places: &[String], people: &[Vec<String>]) -> bool {
        let Some((first, rest)) = places.split_first() else { return true };
        (0..people.len()).any(|index| {
            let mut others = people.to_vec();
            others.remove(index).contains(first) && brute_force(rest, &others)
        })
    }

    proptest! {
        #[test]
        fn matching_agrees_with_trying_everything(
            wanted in proptest::collection::vec((0..4_u8, 1..3_u32), 1..4),
            approvers in proptest::collection::vec(proptest::collection::vec(0..4_u8, 0..4), 0..7),
        ) {
            let demands: Vec<_> =
                wanted.iter().map(|(group, approvals)| ReviewerDemand { group: group.to_string(), approvals: *approvals }).collect();
            let people: Vec<Vec<String>> =
                approvers.iter().map(|groups| groups.iter().map(u8::to_string).collect()).collect();
            let places: Vec<String> =
                wanted.iter().flat_map(|(group, n)| std::iter::repeat_n(group.to_string(), *n as usize)).collect();
            prop_assert_eq!(are_met(&demands, &people), brute_force(&places, &people));
        }
    }
}
