"""Training on pairs without a reference model: token log-probabilities in pieces, ORPO and SimPO, their trainer."""
