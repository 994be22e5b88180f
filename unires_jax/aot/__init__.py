"""`unires aot`: a config's steps compiled for TPUs that are not here, and their costs.

`topology` describes the chips, `steps` lowers, `program` reads what the compiler made,
`report` weighs it against the chip, `table` prints, `command` is the door.
"""
