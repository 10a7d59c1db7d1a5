//! One or more of something, nearly always one.

/// At least one `T`. One is kept in place: of millions of users and rooms most have one session, or are in one room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Few<T> {
    /// The only one.
    One(T),
    /// Any other number.
    #[expect(clippy::box_collection, reason = "8 bytes in place of 24 in each of those who have one")]
    Many(Box<Vec<T>>),
}

impl<T: PartialEq + Clone> Few<T> {
    pub(super) fn as_slice(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }

    pub(super) fn push(&mut self, more: T) {
        match self {
            Self::One(one) => *self = Self::Many(Box::new(vec![one.clone(), more])),
            Self::Many(many) => many.push(more),
        }
    }

    /// Puts `other` in the place of one that is equal to `wanted`, if there is any.
    pub(super) fn replace(&mut self, wanted: &T, other: T) {
        let found = match self {
            Self::One(one) => Some(one),
            Self::Many(many) => many.iter_mut().find(|one| *one == wanted),
        };
        if let Some(one) = found.filter(|one| *one == wanted) {
            *one = other;
        }
    }

    /// Takes one out that is equal to `wanted`, whatever the order of the others.
    pub(super) fn remove(&mut self, wanted: &T) -> Removed {
        let Self::Many(many) = self else {
            let is_it = matches!(self, Self::One(one) if one == wanted);
            return if is_it { Removed::Last } else { Removed::Nothing };
        };
        let Some(place) = many.iter().position(|one| one == wanted) else { return Removed::Nothing };
        many.swap_remove(place);
        if let [one] = &many[..] {
            *self = Self::One(one.clone());
        }
        Removed::One
    }
}

/// What [`Few::remove`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Removed {
    /// No such thing.
    Nothing,
    /// Others are left.
    One,
    /// It is the only one, and stays: the whole is to be dropped.
    Last,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_is_told_and_equal_ones_go_one_by_one() {
        let mut few = Few::One(1);
        assert_eq!(few.remove(&2), Removed::Nothing);
        few.push(2);
        few.push(1);
        assert_eq!(few.as_slice(), [1, 2, 1]);
        assert_eq!(few.remove(&3), Removed::Nothing);
        assert_eq!([few.remove(&1), few.remove(&1)], [Removed::One; 2]);
        assert_eq!(few, Few::One(2));
        few.replace(&1, 5);
        few.replace(&2, 3);
        assert_eq!(few, Few::One(3));
        few.replace(&3, 2);
        assert_eq!(few.remove(&2), Removed::Last);
    }
}
