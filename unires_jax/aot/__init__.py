"""`unires aot`: a config's steps compiled for TPUs that are not here, and what they cost.

`topology` describes the chips, `steps` lowers, `program` reads what the compiler made,
`report` weighs it against the chip, `command` is the door.
"""
