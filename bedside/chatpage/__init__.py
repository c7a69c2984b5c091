"""What both chat pages share, free of any page library: words, alarms, the conversation, its export, the engines."""
