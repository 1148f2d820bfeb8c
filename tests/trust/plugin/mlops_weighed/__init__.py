"""A use case with a split: whether a parcel is heavy, from its weight; parcels of one sender stay together."""
