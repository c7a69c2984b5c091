"""PPO with four roles on one frozen base: policy, reference, critic, reward."""
