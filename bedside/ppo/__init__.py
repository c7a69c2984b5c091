"""PPO with four roles on one frozen base: policy, reference, critic, reward."""

TOGETHER = (
    64  # answers drawn at once where --rollout_batch_size is not given: their cache of keys and values costs most
)
